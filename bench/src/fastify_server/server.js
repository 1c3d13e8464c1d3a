// bench/src/fastify_server/server.js: the peer of bench/gateway: two routes over pg_usher's SQL functions.
//
// As one writes it for production: bodies checked by JSON Schema, replies serialized by it, a pool of connections, named
// (prepared) statements, no logging of requests, optionally several processes. Settings from the environment: PORT,
// POOL (connections a process), WORKERS (processes), and libpq's PGHOST, PGPORT, PGUSER, PGDATABASE.
'use strict';

const cluster = require('node:cluster');
const fastify = require('fastify');
const { Pool } = require('pg');

const port = Number(process.env.PORT || 13100);
const workers = Number(process.env.WORKERS || 1);

const append = {
  name: 'append',
  text: 'SELECT usher.append($1, $2, $3::jsonb, $4) AS version',
};

const read = {
  name: 'read',
  text: `SELECT id, stream, version::int, position::float8, type, data, metadata, recorded_at
         FROM usher.read_stream($1, $2, $3)`,
};

const event = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    stream: { type: 'string' },
    version: { type: 'integer' },
    position: { type: 'integer' },
    type: { type: 'string' },
    data: { type: 'object', additionalProperties: true },
    metadata: { type: 'object', additionalProperties: true },
    recorded_at: { type: 'string', format: 'date-time' },
  },
};

const appendSchema = {
  params: { type: 'object', properties: { stream: { type: 'string', minLength: 1, maxLength: 255 } } },
  body: {
    type: 'object',
    required: ['type'],
    properties: {
      type: { type: 'string', minLength: 1, maxLength: 255 },
      data: { type: 'object', default: {}, additionalProperties: true },
      expected_version: { type: 'integer', minimum: 0 },
    },
  },
  response: {
    201: { type: 'object', properties: { stream: { type: 'string' }, version: { type: 'integer' } } },
  },
};

const readSchema = {
  params: appendSchema.params,
  querystring: {
    type: 'object',
    properties: {
      from: { type: 'integer', minimum: 1, default: 1 },
      max: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    },
  },
  response: {
    200: {
      type: 'object',
      properties: {
        items: { type: 'array', items: event },
        next: { type: 'integer' },
        has_more: { type: 'boolean' },
      },
    },
  },
};

async function serve() {
  const app = fastify({ logger: false, keepAliveTimeout: 60000 });
  const pool = new Pool({ max: Number(process.env.POOL || 10) });

  // The conflict of versions is the client's to solve, everything else is ours.
  app.setErrorHandler((error, request, reply) => {
    const status = error.code === 'US001' ? 412 : error.statusCode || 500;
    reply.code(status).send({ status, title: status < 500 ? error.message : 'internal error' });
  });

  app.post('/v1/streams/:stream/events', { schema: appendSchema }, async (request, reply) => {
    const { type, data, expected_version: expected } = request.body;
    const values = [request.params.stream, type, JSON.stringify(data), expected ?? null];
    const { rows } = await pool.query({ ...append, values });
    reply.code(201);
    return { stream: request.params.stream, version: Number(rows[0].version) };
  });

  app.get('/v1/streams/:stream/events', { schema: readSchema }, async (request) => {
    const { from, max } = request.query;
    const { rows } = await pool.query({ ...read, values: [request.params.stream, from, max + 1] });
    const items = rows.slice(0, max);
    return {
      items,
      next: items.length > 0 ? items[items.length - 1].version + 1 : from,
      has_more: rows.length > max,
    };
  });

  app.get('/healthz', async () => ({ ok: true }));

  const stop = async () => {
    await app.close();
    await pool.end();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  await app.listen({ host: '127.0.0.1', port });
}

if (cluster.isPrimary && workers > 1) {
  for (let n = 0; n < workers; n++) {
    cluster.fork();
  }
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) {
      worker.kill('SIGTERM');
    }
  });
  cluster.on('exit', () => {
    if (Object.keys(cluster.workers).length === 0) {
      process.exit(0);
    }
  });
} else {
  serve().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
