import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiProblem, configure, JobUnsuccessful, Longhaul, Unreachable } from "../src/index.js";
import { FakeStorage } from "./fake-browser.js";
import { FakeServer, JOB_ID, job, json } from "./fake-server.js";

const KEY = "longhaul:downloads:http://longhaul.test";

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

test("a download is started with its options and finishes", async () => {
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

test("files are requested with their paths in the archive", async () => {
  const files = [{ file_id: 5, path: "a/b.pdf" }, { file_id: 5, path: "copies/" }, 3];
  const download = await page().start(files, { manifest: true });
  expect(JSON.parse(String(server.requests[0]?.init.body))).toEqual({
    files: [{ file_id: 5, path: "a/b.pdf" }, { file_id: 5, path: "copies/" }, { file_id: 3 }],
    manifest: true,
  });
  expect(download.fileIds).toEqual([5, 5, 3]);
});

test("finished() throws the job's error if the job fails", async () => {
  server.now = job({
    status: "failed",
    error: "File 3 not found",
    errorCode: "FILE_NOT_FOUND",
  });
  const download = await page().start([3]);
  const error = await download.finished().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(JobUnsuccessful);
  expect(String(error)).toContain("File 3 not found");
});

test("a request without a response is repeated with the same idempotency key", async () => {
  let attempts = 0;
  server.on("POST /v1/download/initiate", () => {
    if (++attempts < 3) throw new TypeError("network error");
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

test("start() fails after four attempts without a response", async () => {
  server.down = true;
  const starting = page()
    .start([1])
    .catch((reason: unknown) => reason);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await starting).toBeInstanceOf(Unreachable);
  expect(server.requests).toHaveLength(4);
});

test("the next start of the same download repeats the key while the outcome is unknown", async () => {
  const longhaul = page();
  const start = async (ids: number[]) => {
    const starting = longhaul.start(ids).catch((reason: unknown) => reason);
    await vi.advanceTimersByTimeAsync(60_000);
    return starting;
  };
  const key = () => new Headers(server.requests.at(-1)?.init.headers).get("Idempotency-Key");
  server.down = true;
  expect(await start([1])).toBeInstanceOf(Unreachable);
  const unknown = key();
  server.down = false;
  await start([1]);
  expect(key()).toBe(unknown);
  await start([1]);
  expect(key()).not.toBe(unknown);
});

test("another download gets another key", async () => {
  const longhaul = page();
  server.down = true;
  const starting = longhaul.start([1]).catch((reason: unknown) => reason);
  await vi.advanceTimersByTimeAsync(60_000);
  await starting;
  server.down = false;
  await longhaul.start([2]);
  const keys = server.requests.map(({ init }) => new Headers(init.headers).get("Idempotency-Key"));
  expect(keys.at(-1)).not.toBe(keys[0]);
});

test("a key is not repeated after an error response", async () => {
  server.on("POST /v1/download/initiate", () => json({ code: "QUEUE_FULL" }, 429));
  const longhaul = page();
  for (let attempt = 0; attempt < 2; attempt++) await longhaul.start([1]).catch(() => undefined);
  const keys = server.requests.map(({ init }) => new Headers(init.headers).get("Idempotency-Key"));
  expect(new Set(keys).size).toBe(2);
});

test("an error response is not retried and keeps its code", async () => {
  const problem = {
    code: "TOO_MANY_ACTIVE_JOBS",
    detail: "You already have 5 downloads in progress. Wait for one to finish or cancel one.",
    retryable: true,
  };
  server.on("POST /v1/download/initiate", () => json(problem, 429, { "Retry-After": "7" }));
  const error = await page()
    .start([1])
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiProblem);
  expect(error).toMatchObject({ code: "TOO_MANY_ACTIVE_JOBS", retryAfter: 7_000, status: 429 });
  expect(server.requests).toHaveLength(1);
});

test("the error of an invalid request names the fields", async () => {
  const errors = { fileName: ["Too long."], files: ["Too many.", "Not unique."] };
  const problem = { code: "VALIDATION_ERROR", detail: "Some fields are invalid.", errors };
  server.on("POST /v1/download/initiate", () => json(problem, 400));
  await expect(page().start([1])).rejects.toMatchObject({
    message: "Some fields are invalid. fileName: Too long. files: Too many. Not unique.",
    errors,
  });
});

test("after a reload the page continues its downloads", async () => {
  await page().start([1, 2]);
  const reloaded = page();
  expect(reloaded.downloads()).toMatchObject([{ jobId: JOB_ID, fileIds: [1, 2] }]);
  const download = reloaded.open(JOB_ID);
  const unsubscribe = download.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(10);
  expect(download.state.job?.version).toBe(1);
  unsubscribe();
});

test("no URL and no job state is stored", async () => {
  server.now = job({ status: "completed", downloadUrl: "https://store/x?X-Amz-Signature=abc" });
  await page().start([1]);
  const stored = storage.getItem(KEY) ?? "";
  expect(stored).toContain(JOB_ID);
  expect(stored).not.toContain("Signature");
});

test("invalid or full storage is ignored", async () => {
  storage.setItem(KEY, '[{"jobId":7},null,"x"]');
  expect(page().downloads()).toEqual([]);
  storage.setItem(KEY, "{");
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  await expect(page().start([1])).resolves.toBeDefined();
});

// A write that failed must not let the next read lose what it wrote.
test("with full storage, a download is listed until the page closes", async () => {
  storage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const longhaul = page();
  await longhaul.start([1, 2]);
  expect(longhaul.downloads()).toMatchObject([{ jobId: JOB_ID, fileIds: [1, 2] }]);
  longhaul.remove(JOB_ID);
  expect(longhaul.downloads()).toEqual([]);
});

/** Limit the characters of an item, as a browser's quota does; return a function that ends this. */
function limitStorage(characters: number): () => void {
  const { setItem } = storage;
  storage.setItem = (key, value) => {
    if (value.length > characters) throw new DOMException("full", "QuotaExceededError");
    setItem(key, value);
  };
  return () => {
    storage.setItem = setItem;
  };
}

// A thousand long paths must not cost the user the whole list.
test("if the storage is full, older downloads are stored without paths and metadata", async () => {
  limitStorage(1_000);
  const longhaul = page();
  const metadata = { note: "n".repeat(100) };
  for (let n = 0; n < 4; n++) {
    server.now = job({ jobId: `job-${n}`, createdAt: `2026-03-01T12:0${n}:00.000Z` });
    const files = [{ file_id: n, path: `${"p".repeat(300)}/` }];
    await longhaul.start(files, { metadata, priority: "low" });
  }
  expect(longhaul.downloads().every(({ files }) => files?.length === 1)).toBe(true);
  const [newest, ...older] = page().downloads();
  expect(newest).toMatchObject({ jobId: "job-3", options: { metadata, priority: "low" } });
  expect(newest?.files).toHaveLength(1);
  expect(older).toHaveLength(3);
  for (const entry of older) {
    expect(entry).toMatchObject({ files: [], options: { priority: "low" } });
    expect(entry.fileIds).toHaveLength(1);
  }
});

test("after a failed write, a tab keeps what another tab stores", async () => {
  const makeRoom = limitStorage(0);
  const [tab, other] = [page(), page()];
  const start = (longhaul: Longhaul, number: number) => {
    const createdAt = `2026-03-01T12:0${number}:00.000Z`;
    server.now = job({ jobId: `job-${number}`, createdAt });
    return longhaul.start([number]);
  };
  await start(tab, 1);
  expect(tab.downloads()).toMatchObject([{ jobId: "job-1" }]);
  makeRoom();
  await start(other, 2);
  await start(tab, 3);
  expect(page().downloads()).toMatchObject([{ jobId: "job-3" }, { jobId: "job-2" }]);
});

// "Start again" starts the same download, with its options and paths.
test("options and paths are stored, but no callbackUrl, which may contain a secret", async () => {
  const files = [{ file_id: 5, path: "a/b.pdf" }, 3];
  const options = { onMissing: "skip", callbackUrl: "https://example.com/?key=secret" } as const;
  await page().start(files, options);
  expect(page().downloads()[0]).toMatchObject({
    fileIds: [5, 3],
    files: [{ file_id: 5, path: "a/b.pdf" }, { file_id: 3 }],
    options: { onMissing: "skip" },
  });
  expect(storage.getItem(KEY)).not.toContain("secret");
});

test("only the newest fifty downloads are stored", async () => {
  const longhaul = page();
  for (let n = 0; n < 60; n++) {
    server.now = job({ jobId: `job-${n}` });
    await longhaul.start([n]);
  }
  expect(longhaul.downloads()).toHaveLength(50);
  expect(longhaul.downloads()[0]?.jobId).toBe("job-59");
});

test("a removed download can be restored in its place, and marked as saved", async () => {
  const longhaul = page();
  for (const [number, minute] of ["00", "01", "02"].entries()) {
    server.now = job({ jobId: `job-${number}`, createdAt: `2026-03-01T12:${minute}:00.000Z` });
    await longhaul.start([number], {}, "invoice.pdf");
  }
  const [, second] = longhaul.downloads();
  longhaul.remove("job-1");
  if (second) longhaul.restore(second);
  longhaul.markSaved("job-1");
  const ids = longhaul.downloads().map(({ jobId }) => jobId);
  expect(ids).toEqual(["job-2", "job-1", "job-0"]);
  expect(page().downloads()[1]).toMatchObject({ saved: true, firstFile: "invoice.pdf" });
});

test("users and APIs of one browser have separate memories", async () => {
  const client = (baseUrl: string, namespace?: string) =>
    new Longhaul({ baseUrl, fetch: server.fetch, storage, ...(namespace && { namespace }) });
  await client("http://longhaul.test", "ada").start([1]);
  expect(client("http://longhaul.test", "ada").downloads()).toHaveLength(1);
  expect(client("http://longhaul.test", "bob").downloads()).toEqual([]);
  expect(client("http://longhaul.test").downloads()).toEqual([]);
  expect(client("http://other.test", "ada").downloads()).toEqual([]);
});

test("headers and tokens may be asynchronous", async () => {
  const headers = async () => ({ "X-User-Id": "ada" });
  const getToken = async () => "secret";
  const { fetch } = server;
  await new Longhaul({ baseUrl: "http://longhaul.test", fetch, storage, headers, getToken }).start([
    1,
  ]);
  const sent = new Headers(server.requests[0]?.init.headers);
  expect(sent.get("X-User-Id")).toBe("ada");
  expect(sent.get("Authorization")).toBe("Bearer secret");
});

test("a rejected token is renewed once", async () => {
  const tokens: (string | undefined)[] = [];
  server.on("POST /v1/download/initiate", (_url, init) =>
    new Headers(init.headers).get("Authorization") === "Bearer new"
      ? json(server.now, 202)
      : json({ code: "UNAUTHORIZED" }, 401),
  );
  const getToken = (rejected?: string) => {
    tokens.push(rejected);
    return rejected ? "new" : "old";
  };
  const { fetch } = server;
  await new Longhaul({ baseUrl: "http://longhaul.test", fetch, storage, getToken }).start([1]);
  expect(tokens).toEqual([undefined, "old"]);
  expect(server.requests).toHaveLength(2);
});

test("a token that stays rejected is an error, without further requests", async () => {
  server.on("POST /v1/download/initiate", () => json({ code: "UNAUTHORIZED" }, 401));
  const { fetch } = server;
  const longhaul = new Longhaul({
    baseUrl: "http://longhaul.test",
    fetch,
    storage,
    getToken: () => "old",
  });
  await expect(longhaul.start([1])).rejects.toMatchObject({ status: 401 });
  expect(server.requests).toHaveLength(1);
});

test("a token that never comes has a deadline", async () => {
  const { fetch } = server;
  const getToken = () => new Promise<string>(() => undefined);
  const longhaul = new Longhaul({ baseUrl: "http://longhaul.test", fetch, storage, getToken });
  const checking = longhaul.check(1).catch((reason: unknown) => reason);
  await vi.advanceTimersByTimeAsync(11_000);
  expect(await checking).toBeInstanceOf(Unreachable);
});

test("configure() sets the options of later clients", async () => {
  configure({ baseUrl: "http://longhaul.test", fetch: server.fetch, getToken: () => "shared" });
  await new Longhaul({ storage }).start([1]);
  configure({ baseUrl: "", fetch: globalThis.fetch, getToken: () => null });
  const sent = new Headers(server.requests[0]?.init.headers);
  expect(sent.get("Authorization")).toBe("Bearer shared");
});

test("open() returns the same object for the same job", async () => {
  const longhaul = page();
  const download = await longhaul.start([1]);
  expect(longhaul.open(JOB_ID)).toBe(download);
  longhaul.remove(JOB_ID);
  expect(longhaul.downloads()).toEqual([]);
});

test("starting a running download again returns the object that is watched, with its new state", async () => {
  const longhaul = page();
  const first = longhaul.open(JOB_ID);
  const unsubscribe = first.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(5_000);
  server.frozen = true;
  server.change({ status: "processing", progress: 42 });
  const second = await longhaul.start([1]);
  expect(second).toBe(first);
  expect(first.state.job?.progress).toBe(42);
  expect(server.count("subscribe")).toBe(1);
  unsubscribe();
});

test("a download that is removed while it is watched is not watched twice after it is restored", async () => {
  const longhaul = page();
  const download = await longhaul.start([1]);
  const unsubscribe = download.subscribe(() => undefined);
  const [entry] = longhaul.downloads();
  longhaul.remove(JOB_ID);
  if (entry) longhaul.restore(entry);
  expect(longhaul.open(JOB_ID)).toBe(download);
  expect(longhaul.open(JOB_ID).fileIds).toEqual([1]);
  unsubscribe();
});

test("all subscribers of a job share one stream", async () => {
  const download = page().open(JOB_ID);
  const unsubscribe = [1, 2, 3].map(() => download.subscribe(() => undefined));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(server.openStreams).toBe(1);
  for (const end of unsubscribe) end();
});

test("the number of open streams is limited", async () => {
  const longhaul = page();
  const ids = Array.from({ length: 7 }, (_, n) => `job-${n}`);
  const unsubscribe = ids.map((id) => longhaul.open(id).subscribe(() => undefined));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(server.openStreams).toBe(4);
  for (const id of ids) expect(server.count(id)).toBeGreaterThan(0);
  for (const end of unsubscribe) end();
});

test("cancelling a job that has just finished shows its final state", async () => {
  const download = await page().start([1]);
  server.change({ status: "completed" });
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => json({ code: "CONFLICT" }, 409));
  await download.cancel();
  expect(download.state.job?.status).toBe("completed");
});

// A rejected action refreshes the state that it was based on.
test.each([
  [409, "queued"],
  [410, "expired"],
] as const)(
  "a retry that is rejected with %i shows the job's current state",
  async (status, now) => {
    server.now = job({ status: "failed", version: 5 });
    const download = await page().start([1]);
    server.change({ status: now });
    server.on(`POST /v1/download/${JOB_ID}/retry`, () => json({ code: "JOB_CONFLICT" }, status));
    await download.retry();
    expect(download.state.job?.status).toBe(now);
  },
);

// Nothing was known that could be outdated, so the page must learn that nothing happens.
test("a retry of a job whose state was unknown throws what the API responds", async () => {
  server.now = job({ status: "completed", version: 5 });
  const conflict = () => json({ code: "JOB_CONFLICT", detail: "Nothing to retry." }, 409);
  server.on(`POST /v1/download/${JOB_ID}/retry`, conflict);
  const download = page().open(JOB_ID);
  await expect(download.retry()).rejects.toThrow("Nothing to retry.");
  expect(download.state.job?.status).toBe("completed");
});

// What the user wants is that nothing runs.
test.each(["known", "unknown"])(
  "cancelling a finished job whose state is %s does not throw",
  async (state) => {
    server.now = job({ status: "failed", version: 5 });
    server.on(`POST /v1/download/cancel/${JOB_ID}`, () => json({ code: "JOB_CONFLICT" }, 409));
    const download = page().open(JOB_ID, state === "known" ? server.now : null);
    await download.cancel();
    expect(download.state.job?.status).toBe("failed");
  },
);

test("a cancellation that is rejected while the job runs throws what the API responds", async () => {
  const download = await page().start([1]);
  server.change({ status: "processing" });
  const conflict = () => json({ code: "CONFLICT", detail: "Not now." }, 409);
  server.on(`POST /v1/download/cancel/${JOB_ID}`, conflict);
  await expect(download.cancel()).rejects.toThrow("Not now.");
  expect(download.state.job?.status).toBe("processing");
});

test("a retry of a job that the API does not know any more shows the problem", async () => {
  server.now = job({ status: "failed", version: 5 });
  const download = await page().start([1]);
  const unknown = () => json({ code: "JOB_NOT_FOUND", detail: "Job not found." }, 404);
  server.on(`POST /v1/download/${JOB_ID}/retry`, unknown);
  server.on(`GET /v1/download/status/${JOB_ID}`, unknown);
  await expect(download.retry()).rejects.toThrow("Job not found.");
  expect(download.state.problem?.message).toBe("Job not found.");
});

test("a retried job is watched again", async () => {
  server.now = job({ status: "failed", version: 5 });
  const download = await page().start([1]);
  const unsubscribe = download.subscribe(() => undefined);
  expect(download.state.connection).toBe("closed");
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => {
    server.change({ status: "queued" });
    return json(server.now, 202);
  });
  await download.retry();
  await vi.advanceTimersByTimeAsync(100);
  expect(download.state).toMatchObject({ connection: "live", job: { status: "queued" } });
  unsubscribe();
});

test("health() returns the checks of an unhealthy service", async () => {
  const health = { status: "unhealthy", checks: { redis: "timeout", storage: "ok" } };
  server.on("GET /health", () => json(health, 503));
  expect(await page().operator.health()).toEqual(health);
});
