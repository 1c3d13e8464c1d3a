// clients/js/event-websocket.js: the log, live, with exact resume.
//
// Each subscription knows the position up to which it has everything. A connection that breaks is made again with
// backoff and jitter, and every subscription goes on behind its own position: each event once, in order. When the
// server says that events were removed behind that position, the subscription hears `gone` and never skips silently.
//
// No dependencies; browsers, and Node from version 22 on (before: pass `WebSocket`). Where WebSocket does not get
// through, server-sent events by fetch are used instead.

import { readBlocks } from './sse.js';
import { globMatch, wants } from './match.js';

const PROTOCOL = 'usher.v1';
const REMEMBERED = 10000; // positions for which handlers of on() have been called

const WATCH_MS = 15000;

// A mistake of ours: trying again would not mend it.
const fatal = new Set([1003, 1007, 1009, 4400, 4403]);

// What the server answers to one subscription; and what may be otherwise after some time. Other 4xx are for all, and for good.
const refused = new Set([400, 403, 413, 414, 422, 431]);
const passing = new Set([408, 425, 429]);

/** The server ends a stream of server-sent events, with a close code of WebSocket's. */
class End extends Error {
  constructor(data) {
    const { code, reason } = JSON.parse(data);
    super(`the server has ended the stream: ${code} ${reason}`);
    Object.assign(this, { code, reason });
  }
}

/** What the server answers in the place of what was asked for. */
class Answer extends Error {
  constructor(text, response) {
    super(`${text} ${response.status}`);
    this.status = response.status;
    this.delay = 1000 * (Number(response.headers?.get('Retry-After')) || 0); // milliseconds
  }
}

export class Subscription {
  #client;

  constructor(client, id, types, options) {
    this.#client = client;
    this.id = id;
    this.types = types;
    this.streams = options.streams ?? [];
    this.filter = options.filter ?? null;
    this.snapshot = options.snapshot ?? null;
    /** Everything up to here was handed over; null before the server has said where it begins. */
    this.position = options.after ?? null;
    this.handler = options.handler ?? null;
    this.onSnapshot = options.onSnapshot ?? null;
    this.live = false;
    this.ready = new Promise((resolve, reject) => Object.assign(this, { _resolve: resolve, _reject: reject }));
    this.ready.catch(() => {});
  }

  unsubscribe() {
    this.#client._unsubscribe(this);
  }
}

/** A topic that the client is in: who is there, and signals. */
export class Topic {
  #client;

  constructor(client, name, options) {
    this.#client = client;
    this.name = name;
    this.state = options.state;
    this.listen = options.listen ?? false;
    this.handler = options.handler ?? null;
    /** Its own id among the members; null when it only listens, or is not there yet. */
    this.id = null;
    /** @type {Map<string, {id: string, user: string, state?: unknown}>} */
    this.members = new Map();
    this.ready = new Promise((resolve, reject) => Object.assign(this, { _resolve: resolve, _reject: reject }));
    this.ready.catch(() => {});
  }

  /** To all who are in the topic, at once and not kept. */
  signal(data) {
    this.#client.signal(this.name, data);
  }

  leave() {
    this.#client._leave(this);
  }
}

export class EventWebSocket {
  #socket = null;
  #streams = false; // are there those of server-sent events?
  #wanted = false;
  #failures = 0;
  #timer = null;
  #watcher = null;
  #heard = 0;
  #ref = 0;
  #subscriptions = new Map();
  #handlers = new Map();
  #seen = new Set();
  #state = 'closed';
  #opened = false;
  #user = '';
  #pending = new Map();
  #topics = new Map();

  /** Does the server offer signals and presence? Known when the state is open. */
  presence = false;

  /**
   * @param {string} url of the gateway: https://host or wss://host
   * @param {object} [options] token: a string, or a function that gives one (also when it expires);
   *   WebSocket, EventSource: the classes to use; transport: 'auto', 'websocket', 'sse' or 'eventsource';
   *   tickets: true, the WebSocket's handshake shows a ticket; backoff: {base, cap} in milliseconds
   */
  constructor(url, options = {}) {
    this.url = new URL(url);
    this.options = { transport: 'auto', backoff: { base: 500, cap: 30000 }, ...options };
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.EventSource = options.EventSource ?? globalThis.EventSource;
    this.sse = ['sse', 'eventsource'].includes(this.options.transport) || !this.WebSocket;
  }

  get state() {
    return this.#state;
  }

  connect() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#open();
  }

  close() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    this.#endStreams();
    clearInterval(this.#watcher);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#enter('closed');
  }

  /**
   * @param {string[]} types patterns of types, e.g. ['booking.*']; empty: all
   * @param {object} [options] after: a position (absent: from now on); streams, filter; handler(event);
   *   snapshot: the name of one that the server offers, or {name, arguments}, and onSnapshot(data) for it
   * @returns {Subscription}
   */
  subscribe(types, options = {}) {
    const subscription = new Subscription(this, `s${++this.#ref}`, types, options);
    this.#subscriptions.set(subscription.id, subscription);
    if (this.#state === 'open' || this.#streams) this.#begin(subscription);
    return subscription;
  }

  _unsubscribe(subscription) {
    if (!this.#subscriptions.delete(subscription.id)) return;
    subscription.abort?.abort();
    this.#send({ op: 'unsubscribe', ref: ++this.#ref, sub: subscription.id });
  }

  /**
   * Joins a topic, and again after each new connection. Needs WebSocket.
   * @param {string} name
   * @param {object} [options] state: what the others see of this member; listen: true, to see them without being
   *   seen; handler({topic, from, data}) for signals
   * @returns {Topic}
   */
  join(name, options = {}) {
    if (this.#topics.has(name)) throw new Error(`the topic ${name} was joined already`);
    const topic = new Topic(this, name, options);
    this.#topics.set(name, topic);
    if (this.sse) {
      this.#topics.delete(name);
      topic._reject(new Error('topics need WebSocket'));
    } else if (this.#state === 'open') this.#enterTopic(topic);
    return topic;
  }

  _leave(topic) {
    if (this.#topics.get(topic.name) !== topic) return;
    this.#topics.delete(topic.name);
    this.#send({ op: 'leave', ref: ++this.#ref, topic: topic.name });
  }

  /** To all who are in the topic: at once, not kept, and lost when there is no connection. */
  signal(topic, data) {
    this.#send({ op: 'signal', ref: ++this.#ref, topic, data });
  }

  #enterTopic(topic) {
    const message = { op: 'join', ref: ++this.#ref, topic: topic.name };
    if (topic.state !== undefined) message.state = topic.state;
    if (topic.listen) message.listen = true;
    this.#pending.set(message.ref, topic);
    this.#send(message);
  }

  /**
   * Calls handler(value) for 'state', 'gone', 'snapshot', 'caught_up', 'presence', 'signal', 'error', 'token_expiring',
   * and for events: on('booking.confirmed', handler), on('booking.*', handler). An event that several
   * subscriptions have comes once. Returns a function that ends it.
   */
  on(name, handler) {
    if (!this.#handlers.has(name)) this.#handlers.set(name, new Set());
    this.#handlers.get(name).add(handler);
    return () => this.#handlers.get(name)?.delete(handler);
  }

  #emit(name, value) {
    for (const handler of this.#handlers.get(name) ?? []) this.#call(handler, value);
  }

  // What a handler throws must not cost the next one its event.
  #call(handler, value) {
    try {
      handler(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit('state', state);
  }

  async #token() {
    const { token } = this.options;
    return typeof token === 'function' ? await token() : token;
  }

  #send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  async #open() {
    this.#enter('connecting');
    let token;
    let ticket;
    try {
      token = await this.#token();
      if (token && this.options.tickets && !this.sse) ({ ticket } = await this.#ticket('websocket', token));
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (!this.#wanted) return;
    if (this.sse) this.#openSse(token);
    else this.#openSocket(token, ticket);
  }

  // What stands for the token where headers cannot be sent: {ticket, expires_at, position}.
  async #ticket(kind, token) {
    const url = new URL('/v1/tickets', this.url);
    url.protocol = url.protocol.replace('ws', 'http');
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ for: kind }), cache: 'no-store' });
    if (!response.ok) throw new Answer('no ticket: the server answers', response);
    return response.json();
  }

  // Browsers cannot send headers with a WebSocket: a ticket goes in the query, or the token in the first frame.
  #openSocket(token, ticket) {
    const url = new URL('/v1/ws', this.url);
    url.protocol = url.protocol.replace('http', 'ws');
    if (ticket) url.searchParams.set('ticket', ticket);
    const socket = new this.WebSocket(url.href, PROTOCOL);
    this.#socket = socket;
    this.#opened = false;
    this.#watch(socket);
    socket.onopen = () => {
      if (token && !ticket) this.#send({ op: 'auth', ref: ++this.#ref, token });
    };
    socket.onmessage = (message) => {
      this.#heard = Date.now();
      if (socket === this.#socket) this.#frame(JSON.parse(message.data));
    };
    // Node before 22 does not always say `close` behind it.
    socket.onerror = () => setTimeout(() => this.#broken(socket), 0);
    socket.onclose = (close) => {
      if (socket === this.#socket) this.#closed(close.code, close.reason);
    };
  }

  #broken(socket) {
    if (socket !== this.#socket) return;
    this.#closed(1006, '');
    socket.close();
  }

  // Nothing tells us that the other side has gone without a word: asked every so often, it must say something.
  #watch(socket) {
    this.#heard = Date.now();
    clearInterval(this.#watcher);
    this.#watcher = setInterval(() => {
      if (Date.now() - this.#heard > 2.5 * WATCH_MS) this.#broken(socket);
      else if (this.#opened) this.#send({ op: 'ping', ref: ++this.#ref });
    }, WATCH_MS);
  }

  #closed(code, reason) {
    this.#socket = null;
    clearInterval(this.#watcher);
    for (const subscription of this.#subscriptions.values()) subscription.live = false;
    if (!this.#wanted) return;
    // Never opened, again and again: something between us does not let WebSocket through.
    if (!this.#opened && this.#failures >= 2 && this.options.transport === 'auto' && code === 1006) this.sse = true;
    this.#ended(code, reason);
  }

  // By a close code of the server's.
  #ended(code, reason) {
    if (fatal.has(code) || (code === 4401 && !this.#renewable()))
      this.#stop(Object.assign(new Error(`the server has closed the connection: ${code} ${reason}`), { code }));
    else this.#again(code === 4503 ? Number(/\d+/.exec(reason)?.[0] ?? 0) : 0);
  }

  // A token that stays the same will not do better the next time.
  #renewable() {
    return typeof this.options.token === 'function';
  }

  // By an answer without a stream, or by none. What may be otherwise later is tried again: also 401, with a newer token.
  #failed(error) {
    const { status, delay } = error instanceof Answer ? error : { status: 0, delay: 0 };
    if (status >= 400 && status < 500 && !passing.has(status) && !(status === 401 && this.#renewable())) this.#stop(error);
    else {
      this.#emit('error', error);
      this.#again(delay);
    }
  }

  // For good: who waits for something is told that it does not come.
  #stop(error) {
    this.#wanted = false;
    clearTimeout(this.#timer);
    this.#endStreams();
    for (const waiting of [...this.#subscriptions.values(), ...this.#topics.values()]) waiting._reject(error);
    this.#emit('error', error);
    this.#enter('closed');
  }

  // Exponential backoff with full jitter.
  #again(delay = 0) {
    if (!this.#wanted) return;
    this.#enter('waiting');
    const { base, cap } = this.options.backoff;
    const wait = delay + Math.random() * Math.min(cap, base * 2 ** Math.min(this.#failures++, 20));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  #begin(subscription) {
    if (this.sse) {
      this.#stream(subscription);
      return;
    }
    const { id, types, streams, filter, snapshot, position } = subscription;
    const message = { op: 'subscribe', ref: ++this.#ref, sub: id, types };
    if (streams.length) message.streams = streams;
    if (filter) message.filter = filter;
    if (position !== null) message.after = position;
    else if (snapshot) message.snapshot = snapshot;
    this.#pending.set(message.ref, subscription);
    this.#send(message);
  }

  #frame(frame) {
    const subscription = this.#subscriptions.get(frame.sub);
    switch (frame.op) {
      case 'welcome': {
        const renewed = this.#opened; // a newer token: what there is goes on
        this.#opened = true;
        this.#failures = 0;
        this.#user = frame.user;
        this.#enter('open');
        this.presence = frame.presence;
        if (!renewed) {
          for (const each of this.#subscriptions.values()) this.#begin(each);
          for (const each of this.#topics.values()) this.#enterTopic(each);
        }
        break;
      }
      case 'subscribed':
        this.#pending.delete(frame.ref);
        if (!subscription) break;
        if (!subscription.snapshot) subscription.position ??= frame.position; // else its snapshot has to come first
        subscription.live = frame.live; // else its past comes first, and then caught_up
        subscription._resolve(subscription);
        break;
      case 'events':
        this.#events(frame, subscription);
        break;
      case 'position':
        this.#reached(frame, subscription);
        break;
      case 'snapshot':
        if (subscription) {
          subscription.position = frame.position;
          if (subscription.onSnapshot) this.#call(subscription.onSnapshot, frame.data);
          this.#emit('snapshot', { subscription, data: frame.data, position: frame.position });
        }
        break;
      case 'caught_up':
        if (subscription) {
          subscription.live = true;
          subscription.position = Math.max(subscription.position ?? 0, frame.position);
          this.#emit('caught_up', { subscription, position: frame.position });
        }
        break;
      case 'gone':
        if (subscription) this.#gone(subscription, frame.oldest);
        break;
      case 'unsubscribed':
        this.#subscriptions.delete(frame.sub);
        break;
      case 'token_expiring':
        this.#emit('token_expiring', frame);
        this.#renew();
        break;
      case 'joined':
      case 'presence':
        this.#present(frame);
        break;
      case 'left': {
        const topic = this.#topics.get(frame.topic);
        this.#topics.delete(frame.topic);
        topic?.members.clear();
        break;
      }
      case 'signal':
        if (this.#topics.get(frame.topic)?.handler) this.#call(this.#topics.get(frame.topic).handler, frame);
        this.#emit('signal', frame);
        break;
      case 'error': {
        const failed = this.#pending.get(frame.ref);
        this.#pending.delete(frame.ref);
        if (failed && frame.problem?.status === 503) {
          this.#later(failed);
          break;
        }
        if (failed) {
          if (failed instanceof Topic) this.#topics.delete(failed.name);
          else this.#subscriptions.delete(failed.id);
          failed._reject(Object.assign(new Error(frame.problem?.detail), { problem: frame.problem }));
        }
        this.#emit('error', Object.assign(new Error(frame.problem?.detail), { problem: frame.problem }));
        break;
      }
    }
  }

  // Not now: asked again, if it is still wanted and the connection is the same one.
  #later(wanted) {
    const socket = this.#socket;
    setTimeout(() => {
      if (socket !== this.#socket || this.#state !== 'open') return;
      if (wanted instanceof Topic && this.#topics.get(wanted.name) === wanted) this.#enterTopic(wanted);
      else if (this.#subscriptions.get(wanted.id) === wanted) this.#begin(wanted);
    }, 1000 + Math.random() * 1000);
  }

  // `members` is the whole list; `joined` and `left` are changes of it, and may repeat what is known.
  #present(frame) {
    const topic = this.#topics.get(frame.topic);
    if (!topic) return;
    if (frame.members) topic.members.clear();
    for (const member of [...(frame.members ?? []), ...(frame.joined ?? [])]) topic.members.set(member.id, member);
    for (const id of frame.left ?? []) topic.members.delete(id);
    if (frame.op === 'joined') {
      this.#pending.delete(frame.ref);
      topic.id = frame.id ?? null;
      topic._resolve(topic);
    }
    this.#emit('presence', { ...frame, topic: frame.topic, list: [...topic.members.values()] });
  }

  async #renew() {
    if (typeof this.options.token !== 'function') return;
    try {
      this.#send({ op: 'auth', ref: ++this.#ref, token: await this.#token() });
    } catch (error) {
      this.#emit('error', error);
    }
  }

  // The subscription begins again where the log still has everything, if its user does not end it in the handler.
  #gone(subscription, oldest) {
    subscription.position = subscription.snapshot ? null : oldest - 1; // what is missing is in a new snapshot
    this.#emit('gone', { subscription, oldest });
    if (this.#subscriptions.has(subscription.id)) this.#begin(subscription);
  }

  // A frame with `sub` is of that subscription's past; one without is live, for all that are.
  #events(frame, of) {
    const targets = of ? [of] : [...this.#subscriptions.values()].filter((each) => each.live);
    for (const event of frame.events) {
      let wanted = false;
      for (const subscription of targets) {
        // What is sent for one subscription was matched by the server already.
        if (event.position <= (subscription.position ?? -1) || !(of || wants(subscription, event, this.#user))) continue;
        wanted = true;
        if (subscription.handler) this.#call(subscription.handler, event);
      }
      if (wanted) this.#dispatch(event);
    }
    this.#reached(frame, of);
  }

  #reached(frame, of) {
    const last = frame.position ?? frame.events?.at(-1)?.position;
    if (last === undefined) return;
    for (const subscription of of ? [of] : this.#subscriptions.values())
      if (of || subscription.live) subscription.position = Math.max(subscription.position ?? 0, last);
  }

  #dispatch(event) {
    if (this.#seen.has(event.position)) return;
    this.#seen.add(event.position);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    for (const [pattern, handlers] of this.#handlers)
      if (globMatch(pattern, event.type)) for (const handler of handlers) this.#call(handler, event);
  }

  /*
   * Server-sent events: a stream for each subscription.
   */

  #openSse(token) {
    this.#streams = true;
    this.sseToken = token;
    if (this.#subscriptions.size === 0) this.#enter('open'); // else when the first stream is there
    for (const subscription of this.#subscriptions.values()) this.#stream(subscription);
  }

  #streaming() {
    this.#failures = 0;
    this.#enter('open');
  }

  // One stream has ended: they are all made anew, since they have one token.
  #endStreams() {
    this.#streams = false;
    for (const subscription of this.#subscriptions.values()) subscription.abort?.abort();
  }

  #sseUrl(subscription) {
    const url = new URL('/v1/sse', this.url);
    url.protocol = url.protocol.replace('ws', 'http');
    if (subscription.types.length) url.searchParams.set('types', subscription.types.join(','));
    if (subscription.streams.length) url.searchParams.set('streams', subscription.streams.join(','));
    if (subscription.filter) url.searchParams.set('filter', JSON.stringify(subscription.filter));
    if (subscription.position !== null) url.searchParams.set('after', subscription.position);
    return url;
  }

  // By EventSource, which cannot send headers and comes back by itself, as long as its ticket is good.
  async #source(subscription, signal) {
    if (this.sseToken) {
      const { ticket, position } = await this.#ticket('sse', this.sseToken);
      subscription.position ??= position; // it does not hand over ids alone, so this is where it begins
      if (signal.aborted) return;
      const url = this.#sseUrl(subscription);
      url.searchParams.set('ticket', ticket);
      await this.#listen(subscription, url, signal);
    } else await this.#listen(subscription, this.#sseUrl(subscription), signal);
  }

  #listen(subscription, url, signal) {
    return new Promise((resolve, reject) => {
      const source = new this.EventSource(url.href);
      const take = (name) => (message) => {
        const block = { event: name, data: message.data };
        if (message.lastEventId !== '') block.id = message.lastEventId;
        this.#block(subscription, block);
      };
      source.onmessage = take('message');
      for (const name of ['gone', 'caught_up']) source.addEventListener(name, take(name));
      source.addEventListener('end', (message) => {
        source.close();
        reject(new End(message.data));
      });
      source.onopen = () => {
        this.#streaming();
        subscription._resolve(subscription);
      };
      source.onerror = () => {
        if (source.readyState !== 2) return; // it tries again by itself
        source.close();
        this.#why(url).then(reject, reject);
      };
      signal.addEventListener('abort', () => {
        source.close();
        resolve();
      });
    });
  }

  // It does not say with what it was answered.
  async #why(url) {
    const response = await fetch(url, { method: 'HEAD', cache: 'no-store' });
    return response.ok ? new Error('the stream was refused') : new Answer('the server answers', response);
  }

  async #stream(subscription) {
    const abort = new AbortController();
    const { signal } = abort;
    const url = this.#sseUrl(subscription);
    subscription.abort = abort;
    try {
      if (this.options.transport === 'eventsource') {
        await this.#source(subscription, signal);
        return;
      }
      const headers = { Accept: 'text/event-stream' };
      if (this.sseToken) headers.Authorization = `Bearer ${this.sseToken}`;
      const response = await fetch(url, { headers, signal, cache: 'no-store' });
      if (!response.ok) throw new Answer('the server answers', response);
      this.#streaming();
      for await (const block of readBlocks(response.body)) {
        if (block.event === 'end') throw new End(block.data);
        this.#block(subscription, block);
      }
      if (!signal.aborted) this.#streamEnded(subscription);
    } catch (error) {
      if (!signal.aborted) this.#streamEnded(subscription, error);
    }
  }

  #streamEnded(subscription, error) {
    if (error instanceof Answer && refused.has(error.status)) {
      this.#subscriptions.delete(subscription.id);
      subscription._reject(error);
      this.#emit('error', error);
      this.#enter('open'); // the others may be served
      return;
    }
    if (!this.#wanted) return;
    this.#endStreams();
    if (error instanceof End) this.#ended(error.code, error.reason);
    else if (error) this.#failed(error);
    else this.#again();
  }

  #block(subscription, block) {
    if (block.event === 'gone') {
      const { oldest } = JSON.parse(block.data);
      subscription.position = oldest - 1;
      this.#emit('gone', { subscription, oldest });
      return;
    }
    const position = block.id === undefined ? undefined : Number(block.id);
    if (position !== undefined) subscription._resolve(subscription); // the first block tells where it begins
    if (block.event === 'caught_up') {
      subscription.live = true;
      subscription.position = Math.max(subscription.position ?? 0, position);
      this.#emit('caught_up', { subscription, position });
      return;
    }
    if (block.data !== undefined && (block.event ?? 'message') === 'message') {
      const event = JSON.parse(block.data);
      if (event.position > (subscription.position ?? -1)) {
        if (subscription.handler) this.#call(subscription.handler, event);
        this.#dispatch(event);
      }
    }
    if (position !== undefined) subscription.position = Math.max(subscription.position ?? 0, position);
  }
}
