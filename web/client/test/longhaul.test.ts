import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiProblem, Longhaul, Unreachable, Unsuccessful } from "../src/index.js";
import { FakeStorage } from "./fake-browser.js";
import { FakeServer, JOB_ID, job, json } from "./fake-server.js";

let server: FakeServer;
let storage: FakeStorage;

const page = () => new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });

beforeEach(() => {
  vi.useFakeTimers();
  storage = new FakeStorage();
  server = new FakeServer();
  server.on("POST /v1/download/initiate", () => json({ ...server.now, message: "Accepted" }, 202));
});

afterEach(async () => {
  await vi.advanceTimersByTimeAsync(2_000);
  vi.useRealTimers();
});

test("a download is started with what was asked for, and finishes", async () => {
  const download = await page().start([1, 2, 3], { priority: "high", onMissing: "skip" });
  expect(JSON.parse(String(server.requests[0]?.init.body))).toEqual({
    file_ids: [1, 2, 3],
    priority: "high",
    onMissing: "skip",
  });
  const finished = download.finished();
  await vi.advanceTimersByTimeAsync(1_000);
  server.change({ status: "completed", fileName: "files.zip" });
  await vi.advanceTimersByTimeAsync(1_000);
  expect((await finished).fileName).toBe("files.zip");
});

test("a job that fails makes finished() throw with the job's own words", async () => {
  server.now = job({
    status: "failed",
    error: "File 3 does not exist",
    errorCode: "FILE_NOT_FOUND",
  });
  const download = await page().start([3]);
  const error = await download.finished().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Unsuccessful);
  expect(String(error)).toContain("File 3 does not exist");
});

test("a lost answer is asked for again with the same idempotency key", async () => {
  let tries = 0;
  server.on("POST /v1/download/initiate", () => {
    if (++tries < 3) throw new TypeError("network error");
    return json(server.now, 202);
  });
  const starting = page().start([1]);
  await vi.advanceTimersByTimeAsync(10_000);
  await starting;
  const keys = server.requests.map(({ init }) => new Headers(init.headers).get("Idempotency-Key"));
  expect(keys).toHaveLength(3);
  expect(new Set(keys).size).toBe(1);
  expect(keys[0]).toMatch(/^[0-9a-f-]{32,36}$/);
});

test("a server that never answers is given up after four tries", async () => {
  server.down = true;
  const starting = page()
    .start([1])
    .catch((reason: unknown) => reason);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await starting).toBeInstanceOf(Unreachable);
  expect(server.requests).toHaveLength(4);
});

test("a refusal is not tried again and keeps its code", async () => {
  const refusal = { code: "TOO_MANY_ACTIVE_JOBS", detail: "Five are running", retryable: true };
  server.on("POST /v1/download/initiate", () => json(refusal, 429, { "Retry-After": "7" }));
  const error = await page()
    .start([1])
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiProblem);
  expect(error).toMatchObject({ code: "TOO_MANY_ACTIVE_JOBS", retryAfter: 7_000, status: 429 });
  expect(server.requests).toHaveLength(1);
});

test("after a reload the page knows its downloads and goes on with them", async () => {
  await page().start([1, 2]);
  const reloaded = page();
  expect(reloaded.remembered()).toMatchObject([{ jobId: JOB_ID, fileIds: [1, 2] }]);
  const download = reloaded.open(JOB_ID);
  const leave = download.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(10);
  expect(download.state.job?.version).toBe(1);
  leave();
});

test("no link and no snapshot is ever stored", async () => {
  server.now = job({ status: "completed", downloadUrl: "https://store/x?X-Amz-Signature=abc" });
  await page().start([1]);
  const stored = storage.getItem("longhaul:downloads") ?? "";
  expect(stored).toContain(JOB_ID);
  expect(stored).not.toContain("Signature");
});

test("storage full of nonsense, or forbidden, does no harm", async () => {
  storage.setItem("longhaul:downloads", '[{"jobId":7},null,"x"]');
  expect(page().remembered()).toEqual([]);
  storage.setItem("longhaul:downloads", "{");
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  await expect(page().start([1])).resolves.toBeDefined();
});

test("no more than fifty downloads are remembered, the newest ones", async () => {
  const longhaul = page();
  for (let n = 0; n < 60; n++) {
    server.now = job({ jobId: `job-${n}` });
    await longhaul.start([n]);
  }
  expect(longhaul.remembered()).toHaveLength(50);
  expect(longhaul.remembered()[0]?.jobId).toBe("job-59");
});

test("one job has one object, however often it is opened", async () => {
  const longhaul = page();
  const download = await longhaul.start([1]);
  expect(longhaul.open(JOB_ID)).toBe(download);
  longhaul.forget(JOB_ID);
  expect(longhaul.remembered()).toEqual([]);
});

test("many watchers of a job share one stream", async () => {
  const download = page().open(JOB_ID);
  const leave = [1, 2, 3].map(() => download.subscribe(() => undefined));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(server.openStreams).toBe(1);
  for (const go of leave) go();
});

test("no more streams are opened than a browser has connections for", async () => {
  const longhaul = page();
  const ids = Array.from({ length: 7 }, (_, n) => `job-${n}`);
  const leave = ids.map((id) => longhaul.open(id).subscribe(() => undefined));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(server.openStreams).toBe(4);
  for (const id of ids) expect(server.count(id)).toBeGreaterThan(0);
  for (const go of leave) go();
});

test("cancelling a job that has just finished shows how it ended", async () => {
  const download = await page().start([1]);
  server.change({ status: "completed" });
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => json({ code: "CONFLICT" }, 409));
  await download.cancel();
  expect(download.state.job?.status).toBe("completed");
});

test("a retried job is watched again", async () => {
  server.now = job({ status: "failed", version: 5 });
  const download = await page().start([1]);
  const leave = download.subscribe(() => undefined);
  expect(download.state.connection).toBe("closed");
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => {
    server.change({ status: "queued" });
    return json(server.now, 202);
  });
  await download.retry();
  await vi.advanceTimersByTimeAsync(100);
  expect(download.state).toMatchObject({ connection: "live", job: { status: "queued" } });
  leave();
});

test("an unhealthy service is an answer, not an error", async () => {
  const health = { status: "unhealthy", checks: { redis: "timeout", storage: "ok" } };
  server.on("GET /health", () => json(health, 503));
  expect(await page().operator.health()).toEqual(health);
});
