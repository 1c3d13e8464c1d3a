// test/integration/src/client_frames.mjs: clients/js against frames that are written here, by a WebSocket without a server. Prints TAP lines.
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
