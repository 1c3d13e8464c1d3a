// test/integration/src/state_client.mjs URL: clients/js with a snapshot and a topic; prints what it got as JSON.
import { EventWebSocket } from '../../../clients/js/event-websocket.js';

const found = { snapshots: [], count: 0, members: [], signals: [] };
const live = new EventWebSocket(process.argv[2], { token: async () => process.env.USHER_TOKEN, tickets: true, backoff: { base: 50, cap: 300 } });
let ended = false;

function finish() {
  if (!ended || !found.signals.length) return;
  clearInterval(again);
  found.members = [...room.members.values()].map((member) => member.user);
  live.close();
  console.log(JSON.stringify(found));
}

const counter = live.subscribe(['count.**'], {
  snapshot: 'count',
  onSnapshot: ({ sum }) => {
    found.snapshots.push(sum);
    found.count = sum;
  },
  handler: (event) => {
    found.count++;
    if (event.type === 'count.end') ended = true;
    finish();
  },
});
const room = live.join('room', {
  state: 7,
  handler: ({ data }) => {
    if (!found.signals.length) found.signals.push(data);
    finish();
  },
});
// a gateway that was just started offers topics a moment later, and what is sent then is lost
const again = setInterval(() => live.presence && !found.signals.length && room.signal({ hello: 'room' }), 300);
live.connect();
await counter.ready;
await room.ready;
await new Promise((resolve) => setTimeout(resolve, 100));
console.log('ready');
