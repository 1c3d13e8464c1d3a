// test/integration/src/live_client.mjs URL TRANSPORT AFTER: clients/js follows what live.py appends; prints what it got as JSON.
import { EventWebSocket } from '../../../clients/js/event-websocket.js';

const [url, transport, after] = process.argv.slice(2);
const found = { all: [], a: [], filtered: [], handlers: [], states: [], errors: [] };
const ws = new EventWebSocket(url, {
  token: async () => process.env.USHER_TOKEN,
  transport,
  backoff: { base: 50, cap: 300 },
});
const ended = new Set();

function take(list, number) {
  return (event) => {
    if (event.type === 'js.end') ended.add(list);
    else found[list].push(number(event));
    if (ended.has('all')) setTimeout(finish, 500);
  };
}

let finished = false;
function finish() {
  if (finished) return;
  finished = true;
  ws.close();
  console.log(JSON.stringify(found));
}

const n = (event) => event.data.n;
ws.on('state', (state) => found.states.push(state));
ws.on('error', (error) => found.errors.push(String(error)));
ws.on('js.*', (event) => event.type === 'js.end' || found.handlers.push(n(event)));
// One that is live from the first moment on, while the others are in the past.
ws.subscribe(['js.a'], { handler: () => {} });
const subscriptions = [
  ws.subscribe(['js.*'], { after: Number(after), handler: take('all', n) }),
  ws.subscribe(['js.a'], { after: Number(after), handler: take('a', n) }),
  ws.subscribe(['js.*'], { after: Number(after), filter: { 'data.n': [3, 77, 111, 151] }, handler: take('filtered', n) }),
];
ws.connect();
await Promise.all(subscriptions.map((subscription) => subscription.ready));
console.log('ready');
