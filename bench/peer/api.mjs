// The baseline for `make bench-api`: the usual download service in Node, with Hono, BullMQ and ioredis.
// One process, one Redis subscriber for all streams. Settings come from the environment:
// PORT, REDIS_URL, CORS_ORIGINS, JWT_PUBLIC_KEY (PEM, RS256), OTLP_ENDPOINT.
import { randomUUID } from 'node:crypto';
import { serve } from '@hono/node-server';
import { Queue } from 'bullmq';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { streamSSE } from 'hono/streaming';
import { Redis } from 'ioredis';
import { importSPKI, jwtVerify } from 'jose';
import { traceRequests } from './tracing.mjs';

const { PORT = '3000', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env;
const { CORS_ORIGINS = '', JWT_PUBLIC_KEY = '', OTLP_ENDPOINT = '' } = process.env;
const JOB_TTL_SECONDS = 86_400;
const MAX_FILES = 1000;
const TERMINAL = new Set(['completed', 'failed']);

const redis = new Redis(REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue('downloads', { connection: redis });
const statusKey = (id) => `job:status:${id}`;
const channelOf = (id) => `job:${id}`;

const subscriber = redis.duplicate();
const listeners = new Map(); // channel -> Set of callbacks
subscriber.on('message', (channel, message) => {
  for (const callback of listeners.get(channel) ?? []) callback(message);
});

async function subscribe(channel, callback) {
  const existing = listeners.get(channel);
  if (existing) {
    existing.add(callback);
  } else {
    listeners.set(channel, new Set([callback]));
    await subscriber.subscribe(channel);
  }
  return () => {
    const callbacks = listeners.get(channel);
    if (!callbacks?.delete(callback) || callbacks.size) return;
    listeners.delete(channel);
    subscriber.unsubscribe(channel).catch(() => {});
  };
}

function fileIdsOf(body) {
  const ids = body?.file_ids;
  if (!Array.isArray(ids) || ids.length < 1 || ids.length > MAX_FILES) return null;
  return ids.every((id) => Number.isInteger(id) && id > 0) ? ids : null;
}

async function requireToken(publicKey) {
  const key = await importSPKI(publicKey, 'RS256');
  return async (c, next) => {
    const token = c.req.header('Authorization')?.replace(/^Bearer /, '') ?? '';
    try {
      const { payload } = await jwtVerify(token, key, { algorithms: ['RS256'] });
      c.set('user', payload.sub);
    } catch {
      return c.json({ error: 'Authentication required.' }, 401);
    }
    await next();
  };
}

const app = new Hono();
if (OTLP_ENDPOINT) app.use('/v1/*', traceRequests(OTLP_ENDPOINT));
if (CORS_ORIGINS) app.use('/v1/*', cors({ origin: CORS_ORIGINS.split(',') }));
if (JWT_PUBLIC_KEY) app.use('/v1/*', await requireToken(JWT_PUBLIC_KEY));

app.get('/health', (c) => c.json({ ok: true }));

app.post('/v1/download/initiate', async (c) => {
  const fileIds = fileIdsOf(await c.req.json().catch(() => null));
  if (!fileIds) return c.json({ error: 'file_ids must be 1 to 1000 positive integers' }, 400);
  const jobId = randomUUID();
  const now = new Date().toISOString();
  await redis.hset(statusKey(jobId), {
    jobId, status: 'queued', progress: 0, total: fileIds.length, createdAt: now, updatedAt: now,
  });
  await redis.expire(statusKey(jobId), JOB_TTL_SECONDS);
  await queue.add('download', { jobId, fileIds }, {
    jobId,
    attempts: 3,
    backoff: { type: 'exponential', delay: 1000 },
    removeOnComplete: 1000,
    removeOnFail: 5000,
  });
  return c.json({ jobId, status: 'queued', totalFiles: fileIds.length }, 202);
});

app.get('/v1/download/status/:id', async (c) => {
  const job = await redis.hgetall(statusKey(c.req.param('id')));
  if (!job.jobId) return c.json({ error: 'Job not found.' }, 404);
  return c.json({ ...job, progress: Number(job.progress), total: Number(job.total) });
});

app.get('/v1/download/subscribe/:id', (c) => {
  const id = c.req.param('id');
  c.header('X-Accel-Buffering', 'no');
  return streamSSE(c, async (stream) => {
    const { promise: ended, resolve: end } = Promise.withResolvers?.() ?? withResolvers();
    const unsubscribe = await subscribe(channelOf(id), (message) => {
      const written = stream.writeSSE({ event: 'progress', data: message });
      if (message.includes('"completed"') || message.includes('"failed"')) written.then(end);
    });
    stream.onAbort(end);
    const job = await redis.hgetall(statusKey(id));
    await stream.writeSSE({ event: 'status', data: JSON.stringify(job) });
    if (TERMINAL.has(job.status)) end();
    const heartbeat = setInterval(() => stream.write(': ping\n\n'), 15_000);
    await ended;
    clearInterval(heartbeat);
    unsubscribe();
  });
});

function withResolvers() { // Node 20 lacks Promise.withResolvers.
  let resolve;
  const promise = new Promise((done) => { resolve = done; });
  return { promise, resolve };
}

serve({ fetch: app.fetch, port: Number(PORT), hostname: '127.0.0.1' });
