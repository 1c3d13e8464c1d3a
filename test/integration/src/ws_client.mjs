// test/integration/src/ws_client.mjs MODULES RULE URL: one rule of live_ws.py, with Node's `ws` from MODULES, against the usherd at URL.
//
// Its token is in USHER_TOKEN. Exits with 0, or throws what is wrong.
import { createRequire } from 'node:module';
import { EventWebSocket } from '../../../clients/js/event-websocket.js';

const [modules, rule, url] = process.argv.slice(2);
const { WebSocket } = createRequire(`${modules}/`)('ws');
const token = process.env.USHER_TOKEN;
const authorization = { Authorization: `Bearer ${token}` };

function ensure(fine, text) {
  if (!fine) throw new Error(text);
}

async function append(stream, type, data) {
  const headers = { ...authorization, 'Content-Type': 'application/json' };
  const reply = await fetch(`${url}/v1/streams/${stream}/events`, { method: 'POST', headers, body: JSON.stringify({ type, data }) });
  ensure(reply.status === 201, `append: ${reply.status}`);
}

/** A socket whose frames come one by one, and which says what has closed it. */
class Live {
  #frames = [];
  #waiting = null;

  constructor(options = {}, headers = authorization) {
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'usher.v1', { headers, ...options });
    this.pings = 0;
    this.socket.on('ping', () => this.pings++);
    this.socket.on('message', (data, binary) => {
      ensure(!binary, 'a binary message');
      this.#frames.push(JSON.parse(data));
      this.#waiting?.();
    });
    this.opened = new Promise((resolve, reject) => this.socket.once('open', resolve).once('error', reject));
    this.closed = new Promise((resolve) => this.socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })));
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  async frame(op) {
    while (!this.#frames.length) await new Promise((resolve) => (this.#waiting = resolve));
    const frame = this.#frames.shift();
    ensure(frame.op === op, `${JSON.stringify(frame)} instead of ${op}`);
    return frame;
  }

  async events(count) {
    const events = [];
    while (events.length < count) events.push(...(await this.frame('events')).events);
    ensure(events.length === count, `${events.length} events instead of ${count}`);
    return events.map((event) => event.data.n);
  }
}

/** The past, its end, and the present, in messages of some fragments. */
async function follow(options, fragments = 1) {
  const live = new Live(options);
  await live.opened;
  ensure(live.socket.protocol === 'usher.v1', `the subprotocol is ${live.socket.protocol}`);
  const { position } = await live.frame('welcome');
  for (let n = 0; n < 3; n++) await append(`${rule}-1`, `${rule}.past`, { n, text: 'x'.repeat(1000) });
  const message = JSON.stringify({ op: 'subscribe', ref: 1, sub: 's', types: [`${rule}.*`], after: position });
  const size = Math.ceil(message.length / fragments);
  for (let at = 0; at < message.length; at += size) {
    live.socket.send(message.slice(at, at + size), { fin: at + size >= message.length });
    if (fragments > 1) live.socket.ping('between');
  }
  const subscribed = await live.frame('subscribed');
  ensure(subscribed.position === position, 'begins elsewhere');
  ensure((await live.events(3)).join() === '0,1,2', 'another past');
  if (!subscribed.live) await live.frame('caught_up'); // live: the gateway has not seen them before, either
  for (let n = 3; n < 6; n++) await append(`${rule}-1`, `${rule}.live`, { n, text: 'x'.repeat(1000) });
  ensure((await live.events(3)).join() === '3,4,5', 'another present');
  return live;
}

const rules = {
  async plain() {
    const live = await follow({ perMessageDeflate: false });
    live.socket.ping('are you there');
    const [data] = await new Promise((resolve) => live.socket.once('pong', (...pong) => resolve(pong)));
    ensure(String(data) === 'are you there', `the pong has ${data}`);
    live.socket.close(4000, 'enough');
    const { code } = await live.closed;
    ensure(code === 4000, `closed with ${code}`);
  },

  async fragments() {
    const live = await follow({ perMessageDeflate: { threshold: 0 } }, 7);
    live.socket.close();
    await live.closed;
  },

  async compressed() {
    const live = await follow({ perMessageDeflate: { threshold: 0 } });
    ensure(live.socket.extensions.includes('permessage-deflate'), `the extensions are "${live.socket.extensions}"`);
    live.socket.close();
    await live.closed;
  },

  async 'first message'() {
    const live = new Live({}, {});
    await live.opened;
    live.say({ op: 'auth', ref: 1, token });
    ensure((await live.frame('welcome')).user !== '', 'nobody is welcome');
    live.socket.terminate();
  },

  async ends() {
    for (const [say, expected] of [
      [(socket) => socket.send('{"op":"auth","token":"wrong"}'), 4401],
      [(socket) => socket.send('{"op":"subscribe","sub":"s"}'), 4401],
      [(socket) => socket.send('{'), 4400],
      [(socket) => socket.send(Buffer.from([1, 2])), 1003],
      [(socket) => socket.send('x'.repeat(65537)), 1009],
    ]) {
      const live = new Live({}, {});
      await live.opened;
      say(live.socket);
      const { code } = await live.closed;
      ensure(code === expected, `${code} instead of ${expected}`);
    }
    const refused = new Live({}, { Authorization: 'Bearer wrong' });
    const error = await refused.opened.catch((error) => error);
    ensure(/401/.test(error?.message), `the handshake with a wrong token: ${error}`);
  },

  async client() {
    const states = [];
    const got = [];
    const client = new EventWebSocket(url, { token, WebSocket, transport: 'websocket', backoff: { base: 20, cap: 200 } });
    client.on('state', (state) => states.push(state));
    let enough;
    const all = new Promise((resolve) => (enough = resolve));
    const subscription = client.subscribe(['client.*'], { handler: (event) => got.push(event.data.n) === 6 && enough() });
    client.connect();
    await subscription.ready;
    for (let n = 0; n < 3; n++) await append('client-1', 'client.x', { n });
    ensure(client.state === 'open' && !client.sse, `${client.state}, ${client.sse}`);
    client.close(); // what comes meanwhile is its past when it comes back
    for (let n = 3; n < 6; n++) await append('client-1', 'client.x', { n });
    client.connect();
    await all;
    client.close();
    const rest = [0, 1, 2, 3, 4, 5].filter((n) => !got.includes(n));
    ensure(rest.length === 0 && got.length === 6, `got ${got}`);
    ensure(states.join() === 'connecting,open,closed,connecting,open,closed', `${states}`);
  },
};

await rules[rule]();
process.exit(0);
