/** Types of event-websocket.js: the log, live, with exact resume. */

export interface LogEvent<Data = any> {
  position: number;
  /** Of events of streams; published ones have a topic instead. */
  stream?: string;
  version?: number;
  id: string;
  type: string;
  topic?: string;
  key?: string;
  data: Data;
  metadata: Record<string, unknown>;
  recorded_at: string;
}

export type Scalar = string | number | boolean | null;
export type Filter = Record<string, Scalar | Scalar[]>;
export type EventHandler<Data = any> = (event: LogEvent<Data>) => void;

export interface SubscribeOptions {
  /** Begin behind this position; absent: from now on. */
  after?: number;
  streams?: string[];
  filter?: Filter;
  handler?: EventHandler;
  /** A snapshot that the server offers, in the place of `after`. */
  snapshot?: string | { name: string; arguments?: Record<string, unknown> };
  onSnapshot?: (data: any) => void;
}

export class Subscription {
  private constructor();
  readonly id: string;
  readonly types: string[];
  readonly streams: string[];
  readonly filter: Filter | null;
  readonly snapshot: SubscribeOptions['snapshot'] | null;
  /** Everything up to here was handed over; null before the server has said where it begins. */
  position: number | null;
  handler: EventHandler | null;
  onSnapshot: ((data: any) => void) | null;
  readonly live: boolean;
  /** The server has taken it; rejects with its problem. */
  readonly ready: Promise<Subscription>;
  unsubscribe(): void;
}

export interface Member<State = any> {
  id: string;
  user: string;
  state?: State;
}

export interface SignalFrame<Data = any> {
  op: 'signal';
  topic: string;
  data: Data;
  /** The user by whose token it was sent; absent: it was sent by SQL. */
  from?: string;
}

export interface PresenceFrame {
  op: 'joined' | 'presence';
  topic: string;
  /** Who is there now. */
  list: Member[];
  joined?: Member[];
  left?: string[];
  members?: Member[];
}

export interface JoinOptions {
  /** What the others see of this member: JSON of at most 1,024 bytes. */
  state?: unknown;
  /** See the others without being seen. */
  listen?: boolean;
  handler?: (signal: SignalFrame) => void;
}

export class Topic {
  private constructor();
  readonly name: string;
  readonly state: unknown;
  readonly listen: boolean;
  handler: ((signal: SignalFrame) => void) | null;
  readonly id: string | null;
  readonly members: Map<string, Member>;
  readonly ready: Promise<Topic>;
  signal(data: unknown): void;
  leave(): void;
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed';

export interface Problem {
  type: string;
  status: number;
  detail: string;
}

export interface Options {
  /** A token or API key, or what gives one: asked at each connection, and before a token expires. */
  token?: string | (() => string | Promise<string>);
  /** 'auto' takes server-sent events where WebSocket does not get through. */
  transport?: 'auto' | 'websocket' | 'sse' | 'eventsource';
  /** The WebSocket's handshake shows a ticket. */
  tickets?: boolean;
  /** Milliseconds. */
  backoff?: { base: number; cap: number };
  WebSocket?: any;
  EventSource?: any;
}

export interface Handlers {
  state: (state: State) => void;
  gone: (value: { subscription: Subscription; oldest: number }) => void;
  snapshot: (value: { subscription: Subscription; data: any; position: number }) => void;
  caught_up: (value: { subscription: Subscription; position: number }) => void;
  presence: (frame: PresenceFrame) => void;
  signal: (frame: SignalFrame) => void;
  token_expiring: (frame: { op: 'token_expiring'; token_expires: number }) => void;
  /** status: of an answer of HTTP; code: of WebSocket's close, or of the end of a stream. */
  error: (error: Error & { problem?: Problem; status?: number; code?: number }) => void;
}

export class EventWebSocket {
  constructor(url: string | URL, options?: Options);
  readonly url: URL;
  readonly options: Options & { transport: NonNullable<Options['transport']>; backoff: { base: number; cap: number } };
  readonly state: State;
  /** Is it by server-sent events? */
  readonly sse: boolean;
  /** Does the server offer signals and presence? Known when the state is 'open'. */
  readonly presence: boolean;
  connect(): void;
  close(): void;
  subscribe(types: string[], options?: SubscribeOptions): Subscription;
  join(name: string, options?: JoinOptions): Topic;
  signal(topic: string, data: unknown): void;
  /** For what happens to the connection, or for events whose type matches the pattern; returns what ends it. */
  on<Name extends keyof Handlers>(name: Name, handler: Handlers[Name]): () => void;
  on(pattern: string, handler: EventHandler): () => void;
}
