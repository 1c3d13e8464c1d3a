// test/integration/src/client_frames.mjs: clients/js against frames and answers that are written here, without a server. Prints TAP lines.
import { EventWebSocket } from '../../../clients/js/event-websocket.js';

class Wire {
  static last = null;
  readyState = 0;
  sent = [];

  constructor() {
    Wire.last = this;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen();
    });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {}

  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  subscribes() {
    return this.sent.filter((message) => message.op === 'subscribe');
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

async function connected(subscriptions) {
  const errors = [];
  const client = new EventWebSocket('http://localhost', { token: async () => 't', WebSocket: Wire, transport: 'websocket' });
  client.on('error', (error) => errors.push(String(error)));
  const made = subscriptions.map(([types, options]) => client.subscribe(types, options));
  client.connect();
  await turn();
  const wire = Wire.last;
  wire.say({ op: 'welcome', position: 10, tenant: 'default', user: 'u-7' });
  for (const message of wire.subscribes())
    wire.say({ op: 'subscribed', ref: message.ref, sub: message.sub, position: message.after ?? 10, live: message.after === undefined });
  return { client, wire, made, errors };
}

const event = (position, type, more = {}) => ({ position, stream: 's-1', version: 1, type, data: {}, ...more });

/** A client over server-sent events; answers: functions of the request's token, one for each, the last one also for what follows. */
function streaming(answers, options) {
  const tokens = [];
  const states = [];
  const errors = [];
  globalThis.fetch = async (url, { headers }) => {
    tokens.push(headers.Authorization);
    return answers[Math.min(tokens.length, answers.length) - 1]();
  };
  const client = new EventWebSocket('http://localhost', { transport: 'sse', backoff: { base: 1, cap: 4 }, ...options });
  client.on('state', (state) => states.push(state));
  client.on('error', (error) => errors.push(error));
  const subscription = client.subscribe(['a']);
  client.connect();
  return { client, subscription, tokens, states, errors };
}

const status = (code, headers) => () => new Response('', { status: code, headers });
const blocks = (text) => () => new Response(text, { headers: { 'Content-Type': 'text/event-stream' } });
const forever = () => new Response(new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode('id: 7\n\n')) }));
const while_ = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** It is over: said once, with the state, to who waits too, and nothing is asked any more. */
async function over({ client, subscription, tokens, states, errors }, requests, says) {
  await while_(100);
  const rejected = await Promise.race([subscription.ready.then(() => 'ready', (error) => error), while_(10)]);
  if (client.state !== 'closed' || states.at(-1) !== 'closed') throw new Error(`the states are ${states}`);
  if (tokens.length !== requests) throw new Error(`${tokens.length} requests instead of ${requests}`);
  if (errors.length !== 1 || !says(errors[0])) throw new Error(`the errors are ${errors}`);
  if (rejected !== errors[0] && rejected !== 'ready') throw new Error(`ready is ${rejected}`);
}

const tests = {
  async 'a newer token lets subscriptions be'() {
    const got = [];
    const { client, wire, errors } = await connected([[['a'], { handler: (one) => got.push(one.position) }]]);
    wire.say({ op: 'token_expiring', token_expires: 1 });
    await turn();
    if (wire.sent.filter((message) => message.op === 'auth').length !== 2) throw new Error('no newer token was sent');
    wire.say({ op: 'welcome', position: 11, tenant: 'default', user: 'u-7' });
    if (wire.subscribes().length !== 1) throw new Error('subscribed once more');
    wire.say({ op: 'events', position: 12, events: [event(12, 'a')] });
    client.close();
    if (got.join() !== '12' || errors.length) throw new Error(`got ${got}, errors ${errors}`);
  },

  async '{user} in a pattern is the user of the token'() {
    const got = [];
    const { client, wire } = await connected([
      [['note.{user}.*'], { handler: (one) => got.push(`n${one.position}`) }],
      [[], { streams: ['inbox-{user}'], handler: (one) => got.push(`i${one.position}`) }],
    ]);
    wire.say({ op: 'events', position: 14, events: [event(12, 'note.u-7.new'), event(13, 'note.u-8.new'), event(14, 'x', { stream: 'inbox-u-7' })] });
    client.close();
    if (got.join() !== 'n12,i14') throw new Error(`got ${got}`);
  },

  async 'what is live does not overtake the past'() {
    const got = [];
    const { client, wire } = await connected([
      [['b'], {}],
      [['a'], { after: 3, handler: (one) => got.push(one.position) }],
    ]);
    wire.say({ op: 'events', position: 12, events: [event(11, 'b'), event(12, 'a')] });
    wire.say({ op: 'events', sub: wire.subscribes()[1].sub, position: 12, events: [event(5, 'a'), event(12, 'a')] });
    wire.say({ op: 'caught_up', sub: wire.subscribes()[1].sub, position: 12 });
    wire.say({ op: 'events', position: 13, events: [event(13, 'a')] });
    client.close();
    if (got.join() !== '5,12,13') throw new Error(`got ${got}`);
  },

  async 'a stream that is refused for good ends the client'() {
    for (const code of [401, 404, 405, 410]) {
      const made = streaming([status(code)], { token: 'old' });
      await over(made, 1, (error) => error.status === code);
      if (made.states.includes('open')) throw new Error(`${code}: open, without a stream`);
    }
  },

  async 'a token that does not change ends with its revocation'() {
    await over(streaming([blocks('id: 7\n\nevent: end\ndata: {"code":4401,"reason":"revoked"}\n\n')], { token: 'old' }), 1, (error) => error.code === 4401);
  },

  async 'a newer token is asked for when the old one is refused'() {
    let asked = 0;
    const made = streaming([status(401), forever], { token: async () => `t${++asked}` });
    await made.subscription.ready;
    made.client.close();
    if (made.tokens.join() !== 'Bearer t1,Bearer t2') throw new Error(`tokens ${made.tokens}`);
    if (made.states.join() !== 'connecting,waiting,connecting,open,closed') throw new Error(`states ${made.states}`);
  },

  async 'newer tokens that are refused, too, are asked for with backoff'() {
    let asked = 0;
    const made = streaming([status(401)], { token: async () => `t${++asked}`, backoff: { base: 20, cap: 10000 } });
    await while_(400);
    made.client.close();
    if (asked < 2 || asked > 12) throw new Error(`asked ${asked} times`);
  },

  async 'what is refused to one subscription ends that one'() {
    const made = streaming([status(403)], { token: 'mine' });
    const error = await made.subscription.ready.catch((error) => error);
    await while_(50);
    if (error.status !== 403 || made.tokens.length !== 1 || made.client.state !== 'open') throw new Error(`${error}, ${made.client.state}`);
    made.client.close();
  },

  async 'who comes too often, or too early, comes back when he is told to'() {
    for (const [code, header] of [[429, '1'], [503, '1']]) {
      const made = streaming([status(code, { 'Retry-After': header }), forever], { token: 'mine' });
      const began = Date.now();
      await made.subscription.ready;
      made.client.close();
      if (Date.now() - began < 990) throw new Error(`${code}: after ${Date.now() - began} ms`);
    }
  },

  async 'a message that the server cannot take is not sent again'() {
    for (const code of [1003, 1007, 1009, 4400, 4403]) {
      const { client, wire, errors } = await connected([]);
      wire.onclose({ code, reason: '' });
      if (client.state !== 'closed' || errors.length !== 1) throw new Error(`${code}: ${client.state}, ${errors}`);
    }
  },

  async 'who waits is told when the token ends'() {
    const client = new EventWebSocket('http://localhost', { token: 't', WebSocket: Wire, transport: 'websocket' });
    const subscription = client.subscribe(['a']);
    const topic = client.join('room');
    client.connect();
    await turn();
    Wire.last.onclose({ code: 4401, reason: 'the token has expired' });
    for (const ready of [subscription.ready, topic.ready])
      if ((await Promise.race([ready, while_(50)]).catch((error) => error))?.code !== 4401) throw new Error('nobody says so');
    if (client.state !== 'closed') throw new Error(client.state);
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`not ok ${name} - ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
