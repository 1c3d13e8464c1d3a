// test/integration/src/client_types.ts: uses of clients/js that must compile, and some that must not.
import { EventWebSocket, Subscription, Topic } from './event-websocket.js';
import type { LogEvent, Member, PresenceFrame, SignalFrame, State } from './event-websocket.js';
import { filterMatch, globMatch, wants } from './match.js';
import { readBlocks } from './sse.js';

interface Order {
  total: number;
}

const live = new EventWebSocket('https://host', { token: async () => 'x', transport: 'auto', tickets: true, backoff: { base: 1, cap: 2 } });
const off: () => void = live.on('state', (state: State) => state === 'open');
live.on('order.*', (event: LogEvent<Order>) => event.data.total.toFixed());
live.on('gone', ({ subscription, oldest }) => (subscription.position = oldest));
live.on('snapshot', ({ data, position }) => [data, position + 1]);
live.on('presence', (frame: PresenceFrame) => frame.list.map((member: Member) => member.user));
live.on('signal', (frame: SignalFrame<{ x: number }>) => frame.from ?? frame.data.x);
live.on('error', (error) => error.problem?.status ?? error.message);
const orders: Subscription = live.subscribe(['order.*'], { after: 3, streams: ['a'], filter: { 'data.x': [1, null] }, handler: (e) => e.position });
live.subscribe([], { snapshot: { name: 'cart', arguments: { id: 1 } }, onSnapshot: (data) => data });
const room: Topic = live.join('room', { state: { a: 1 }, listen: false, handler: ({ data }) => data });
async function use() {
  await orders.ready;
  (await room.ready).members.get(room.id ?? '')?.state;
  room.signal({ x: 1 });
  live.signal('room', null);
  room.leave();
  orders.unsubscribe();
  live.connect();
  live.close();
  off();
  for await (const block of readBlocks(new Response('').body!)) block.id?.length;
  return [globMatch('a', 'b'), filterMatch(null, {}), wants({ types: ['a'] }, { type: 'a' }, 'u'), live.presence, live.sse, live.state];
}
void use;

// @ts-expect-error a state that there is not
live.on('state', (state: 'dancing') => state);
// @ts-expect-error a transport that there is not
new EventWebSocket('https://host', { transport: 'pigeon' });
// @ts-expect-error subscriptions are made by subscribe()
new Subscription();
// @ts-expect-error a position is a number
live.subscribe([], { after: 'x' });
// @ts-expect-error nobody may set it
live.presence = true;
// @ts-expect-error it has no such function
live.publish('x');
