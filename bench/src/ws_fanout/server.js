// bench/src/ws_fanout/server.js: the peer of bench/realtime: events to all WebSockets that want them, with ws.
//
// As one writes it: a token (HS256) checked in the handshake, subscriptions as those of usher.v1 (types, filter), an event
// parsed and written as JSON once, ws.send() for each socket. Events come as lines of JSON on another port, so what it costs to
// get them is less than for usherd, which reads them from the database. Settings from the environment: PORT, FEED_PORT, KEY (base64url).
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');
const net = require('node:net');
const readline = require('node:readline');
const { WebSocketServer } = require('ws');

const key = Buffer.from(process.env.KEY || '', 'base64url');
const clients = new Set();

function tokenIsGood(authorization) {
  const [head, claims, signature] = (authorization || '').replace(/^Bearer /, '').split('.');
  if (!signature) return false;
  const expected = crypto.createHmac('sha256', key).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) return false;
  const { exp } = JSON.parse(Buffer.from(claims, 'base64url'));
  return !exp || exp > Date.now() / 1000;
}

function segmentsMatch(pattern, name, p = 0, n = 0) {
  for (; p < pattern.length; p++, n++) {
    if (pattern[p] === '**') {
      for (let rest = n; rest <= name.length; rest++) if (segmentsMatch(pattern, name, p + 1, rest)) return true;
      return false;
    }
    if (n >= name.length || (pattern[p] !== '*' && pattern[p] !== name[n])) return false;
  }
  return n === name.length;
}

function valueAt(event, path) {
  return path.reduce((value, name) => (value === null || typeof value !== 'object' ? undefined : value[name]), event);
}

function wants(subscription, event, name) {
  return (
    subscription.types.some((pattern) => segmentsMatch(pattern, name)) &&
    subscription.filter.every(([path, value]) => valueAt(event, path) === value)
  );
}

function serve(ws) {
  const client = { ws, subscriptions: [] };
  clients.add(client);
  ws.on('close', () => clients.delete(client));
  ws.on('error', () => ws.terminate());
  ws.on('message', (data) => {
    const message = JSON.parse(data);
    if (message.op !== 'subscribe') return;
    client.subscriptions.push({
      types: message.types.map((pattern) => pattern.split('.')),
      filter: Object.entries(message.filter || {}).map(([path, value]) => [path.split('.'), value]),
    });
    ws.send(JSON.stringify({ op: 'subscribed', sub: message.sub }));
  });
}

const server = http.createServer((request, response) => response.end('ok\n'));
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 65536 });
server.on('upgrade', (request, socket, head) => {
  if (tokenIsGood(request.headers.authorization)) sockets.handleUpgrade(request, socket, head, serve);
  else socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
});
server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 1024 });

net
  .createServer((feed) => {
    feed.on('error', () => feed.destroy());
    readline.createInterface({ input: feed }).on('line', (line) => {
      const event = JSON.parse(line);
      const name = event.type.split('.');
      const frame = Buffer.from(JSON.stringify({ op: 'events', position: event.position, events: [event] }));
      for (const client of clients)
        if (client.subscriptions.some((subscription) => wants(subscription, event, name)))
          client.ws.send(frame, { binary: false });
    });
  })
  .listen(Number(process.env.FEED_PORT), '127.0.0.1');
