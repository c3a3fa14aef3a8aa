// The baseline for `make bench-jobs`: BullMQ with jobs that do nothing.
// `node no_op.mjs worker` runs five at a time and appends "accepted_ns started_ns" (CLOCK_MONOTONIC)
// to the list bench:latency. `node no_op.mjs enqueue N RATE` adds N jobs, RATE a second; 0: in bulk.
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [, , role, count, rate] = process.argv;
const connection = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: null });
const options = {
  attempts: 3,
  backoff: { type: 'exponential', delay: 1000 },
  removeOnComplete: 1000,
  removeOnFail: 5000,
};
const now = () => process.hrtime.bigint();

function work() {
  const notes = connection.duplicate();
  const run = async (job) => { notes.rpush('bench:latency', `${job.data.t} ${now()}`); };
  new Worker('no-op', run, { connection, concurrency: 5 });
}

async function enqueue(n, perSecond) {
  const queue = new Queue('no-op', { connection });
  await queue.waitUntilReady();
  if (perSecond > 0) {
    const began = Number(now());
    for (let k = 0; k < n; k++) {
      const wait = (began + (k * 1e9) / perSecond - Number(now())) / 1e6;
      if (wait > 0) await sleep(wait);
      queue.add('no-op', { t: String(now()) }, options);
    }
    await sleep(500); // The last additions are still on their way.
  } else {
    const batch = 500;
    for (let k = 0; k < n; k += batch) {
      const jobs = Array.from({ length: Math.min(batch, n - k) }, () => (
        { name: 'no-op', data: { t: String(now()) }, opts: options }
      ));
      await queue.addBulk(jobs);
    }
  }
  await queue.close();
  connection.disconnect();
}

if (role === 'worker') work();
else await enqueue(Number(count), Number(rate));
