import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  ApiProblem,
  type Connection,
  type DownloadState,
  type Job,
  Longhaul,
} from "../src/index.js";
import { FakeServer, JOB_ID, job, json } from "./fake-server.js";

const SECOND = 1_000;

let server: FakeServer;
let longhaul: Longhaul;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  longhaul = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch });
});

afterEach(async () => {
  stop?.();
  await vi.advanceTimersByTimeAsync(2 * SECOND);
  vi.useRealTimers();
});

/** Watch the job and collect its states. */
function watch(): { states: DownloadState[]; jobs: Job[]; connections: Connection[] } {
  const seen = { states: [], jobs: [], connections: [] } as ReturnType<typeof watch>;
  const download = longhaul.open(JOB_ID);
  stop = download.subscribe(() => {
    const { state } = download;
    seen.states.push(state);
    if (state.job && state.job !== seen.jobs.at(-1)) seen.jobs.push(state.job);
    if (state.connection !== seen.connections.at(-1)) seen.connections.push(state.connection);
  });
  return seen;
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Report progress of the job every second, for `seconds`. */
async function work(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    const progress = Math.min(99, server.now.progress + 1);
    server.change({ status: "processing", progress });
    await pass(SECOND);
  }
}

/** Return the maximum number of requests that started within `window` milliseconds. */
function maxRequests(window: number): number {
  const times = server.requests.map(({ at }) => at);
  return Math.max(...times.map((at) => times.filter((t) => t >= at && t < at + window).length));
}

test("a working stream delivers every change with one request", async () => {
  const seen = watch();
  await work(10);
  expect(seen.jobs.map(({ progress }) => progress)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(seen.connections.at(-1)).toBe("live");
  expect(server.requests).toHaveLength(1);
});

test("the watch and its stream end with the job", async () => {
  const seen = watch();
  await work(2);
  server.change({ status: "completed", progress: 100 });
  await pass(60 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "closed", problem: null });
  expect(seen.jobs.at(-1)?.status).toBe("completed");
  expect(server.openStreams).toBe(0);
  expect(server.requests).toHaveLength(1);
});

test("a buffered stream is replaced by long polls after three seconds", async () => {
  server.stream = "buffered";
  const seen = watch();
  await pass(2_900);
  expect(seen.jobs).toEqual([]);
  await pass(200);
  expect(seen.jobs).toHaveLength(1);
  expect(seen.connections.at(-1)).toBe("polling");
  await work(10);
  expect(seen.jobs.length).toBeGreaterThan(5);
  expect(server.count("wait=25")).toBeGreaterThan(5);
});

test("the watch returns to streams when they work again", async () => {
  server.stream = "unreachable";
  const seen = watch();
  await work(20);
  expect(seen.connections.at(-1)).toBe("polling");
  server.stream = "good";
  await work(31);
  expect(seen.connections.at(-1)).toBe("live");
  const requests = server.count("/status/");
  await work(20);
  expect(server.count("/status/")).toBe(requests);
});

test("the first event of a stream ends the concurrent long poll", async () => {
  server.stream = "rejected";
  watch();
  await pass(5 * SECOND);
  const held = server.requests.findLast(({ path }) => path.includes("wait="));
  server.stream = "good";
  await pass(30 * SECOND);
  expect(held?.init.signal?.aborted).toBe(true);
});

test("a stream without heartbeats is replaced", async () => {
  const seen = watch();
  await work(1);
  await pass(34 * SECOND);
  expect(server.count("/subscribe/")).toBe(1);
  await pass(5 * SECOND);
  expect(server.count("/subscribe/")).toBeGreaterThan(1);
  expect(seen.connections).toContain("live");
});

test("a stream that is silent while the job makes progress is replaced after 10 seconds", async () => {
  const seen = watch();
  await work(2);
  server.frozen = true;
  await work(8);
  expect(server.count("/status/")).toBe(0);
  await work(4);
  expect(seen.jobs.at(-1)?.progress).toBeGreaterThan(10);
  expect(server.count("/status/")).toBeGreaterThan(0);
  server.frozen = false;
  await work(20);
  expect(seen.connections.at(-1)).toBe("live");
});

test("a stream that is silent because nothing happens is kept", async () => {
  const seen = watch();
  await work(1);
  await pass(33 * SECOND);
  expect(server.count("/subscribe/")).toBe(1);
  expect(server.count("/status/")).toBe(3);
  expect(seen.connections.at(-1)).toBe("live");
});

test("the interval of plain polls can be set", async () => {
  longhaul = new Longhaul({
    baseUrl: "http://longhaul.test",
    fetch: server.fetch,
    pollInterval: 10 * SECOND,
  });
  server.stream = "rejected";
  server.longPoll = "rejected";
  watch();
  await work(60);
  expect(server.requests.filter(({ path }) => path.endsWith(JOB_ID)).length).toBeLessThan(9);
});

test("browsers without AbortSignal.any can watch a job", async () => {
  const { any } = AbortSignal;
  onTestFinished(() => void Object.assign(AbortSignal, { any }));
  Object.assign(AbortSignal, { any: undefined });
  server.stream = { cutAfter: 3 * SECOND };
  const seen = watch();
  await work(20);
  server.change({ status: "completed", progress: 100 });
  await pass(10 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "closed", job: { status: "completed" } });
});

test("plain polls deliver updates when long polls fail too", async () => {
  server.stream = "rejected";
  server.longPoll = "rejected";
  const seen = watch();
  // Ten plain polls take at least 20 s. After them a long poll is tried again and rejected.
  await work(20);
  expect(seen.connections.at(-1)).toBe("polling");
  await work(10);
  expect(seen.jobs.length).toBeGreaterThan(6);
});

test("an older version never replaces a newer one", async () => {
  const seen = watch();
  await work(5);
  server.now = job({ version: 3, progress: 3, status: "processing" });
  server.change({ version: 3 });
  await pass(SECOND);
  const versions = seen.jobs.map(({ version }) => version);
  expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  expect(versions.at(-1)).toBe(6);
});

test("the end of a job counts, even if a restored job store gives it an older version", async () => {
  const seen = watch();
  await work(5);
  server.now = job({ version: 3, progress: 3, status: "processing" });
  server.change({ version: 4, status: "completed", progress: 100 });
  await pass(30 * SECOND);
  expect(seen.jobs.at(-1)).toMatchObject({ version: 4, status: "completed" });
  expect(seen.connections.at(-1)).toBe("closed");
});

test("a new request contains the current version", async () => {
  server.stream = { cutAfter: 3 * SECOND };
  watch();
  await work(10);
  expect(server.requests.at(-1)?.path).toMatch(/(since|lastEventId)=([2-9]|10)\b/);
});

// The watch ends with the job, and a clean-up deletes the archive some time after its expiry.
test("from the expiry on, the API is asked once for all listeners until it says expired", async () => {
  const availableUntil = new Date(Date.now() + 60 * SECOND).toISOString();
  server.now = job({ status: "completed", availableUntil });
  watch();
  const end = longhaul.open(JOB_ID).subscribe(() => undefined);
  await pass(59 * SECOND);
  const before = server.requests.length;
  await pass(11 * SECOND);
  expect(server.requests.length - before).toBe(3);
  server.change({ status: "expired" });
  await pass(10 * SECOND);
  expect(longhaul.open(JOB_ID).state.job?.status).toBe("expired");
  const requests = server.requests.length;
  await pass(3_600 * SECOND);
  expect(server.requests).toHaveLength(requests);
  end();
});

test("the API is not asked about the expiry without listeners", async () => {
  const availableUntil = new Date(Date.now() + 60 * SECOND).toISOString();
  server.now = job({ status: "completed", availableUntil });
  watch();
  await pass(10 * SECOND);
  stop();
  const requests = server.requests.length;
  await pass(120 * SECOND);
  expect(server.requests).toHaveLength(requests);
  watch();
  await pass(2 * SECOND);
  expect(server.requests).toHaveLength(requests + 1);
});

test("an unknown job ends the watch with a problem", async () => {
  server.stream = "rejected";
  const notFound = { code: "JOB_NOT_FOUND", detail: "Job not found" };
  server.on(`GET /v1/download/status/${JOB_ID}`, () => json(notFound, 404));
  const seen = watch();
  await pass(30 * SECOND);
  const requests = server.requests.length;
  const { problem, connection } = seen.states.at(-1) as DownloadState;
  expect(connection).toBe("closed");
  expect(problem).toBeInstanceOf(ApiProblem);
  expect(problem?.message).toBe("Job not found");
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(requests);
});

test("a cancelled job, with status 410, is not a problem", async () => {
  server.stream = "rejected";
  server.now = job({ status: "cancelled", version: 4 });
  const seen = watch();
  await pass(10 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "closed", problem: null });
  expect(seen.jobs.at(-1)?.status).toBe("cancelled");
});

test("Retry-After is respected", async () => {
  server.stream = "rejected";
  server.on(`GET /v1/download/status/${JOB_ID}`, () =>
    json({ code: "BACKEND_UNAVAILABLE" }, 503, { "Retry-After": "20" }),
  );
  watch();
  await pass(19 * SECOND);
  expect(server.count("/status/")).toBe(1);
});

test("without listeners there are no requests", async () => {
  const seen = watch();
  await work(2);
  stop();
  await pass(2 * SECOND);
  expect(server.openStreams).toBe(0);
  const requests = server.requests.length;
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(requests);
  expect(seen.jobs.length).toBeGreaterThan(0);
});

test("when the network is back the watch retries immediately", async () => {
  server.down = true;
  const seen = watch();
  await pass(120 * SECOND);
  expect(seen.connections.at(-1)).toBe("reconnecting");
  server.down = false;
  longhaul.retryNow();
  await pass(3.1 * SECOND);
  expect(seen.jobs).toHaveLength(1);
});

describe("no failure causes more than one request per second", () => {
  const failures: Record<string, () => void> = {
    "streams cut after 3 s": () => (server.stream = { cutAfter: 3 * SECOND }),
    "streams cut immediately": () => (server.stream = { cutAfter: 1 }),
    "streams buffered": () => (server.stream = "buffered"),
    "streams rejected": () => (server.stream = "rejected"),
    "streams and long polls rejected": () => {
      server.stream = "rejected";
      server.longPoll = "rejected";
    },
    "long polls answered immediately": () => {
      server.stream = "rejected";
      server.longPoll = "ignored";
    },
    "server down": () => (server.down = true),
  };

  test.each(Object.entries(failures))("%s", async (_name, fail) => {
    fail();
    const seen = watch();
    await work(120);
    expect(maxRequests(10 * SECOND)).toBeLessThan(10);
    expect(server.requests.length / 120).toBeLessThan(0.8);
    if (!server.down) expect(seen.jobs.length).toBeGreaterThan(20);
  });
});

// Only the API itself can say that watching is pointless.
test.each([
  [401, "<h1>default backend</h1>"],
  [403, '{"code": 403, "message": "Forbidden"}'],
  [404, '{"code": null}'],
])("a %i of an ingress does not end the watch: %s", async (status, body) => {
  server.stream = "rejected";
  server.on(`GET /v1/download/status/${JOB_ID}`, () => new Response(body, { status }));
  const seen = watch();
  await pass(30 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "reconnecting", problem: null });
  server.on(`GET /v1/download/status/${JOB_ID}`, () => json(server.now));
  await pass(60 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "polling", job: { status: "queued" } });
});

// Intervals are measured by a clock that is never set back.
test("a clock that is set back does not stop the requests", async () => {
  server.stream = "rejected";
  server.longPoll = "ignored";
  watch();
  await pass(20 * SECOND);
  const before = server.requests.length;
  vi.setSystemTime(Date.now() - 600 * SECOND);
  await pass(20 * SECOND);
  expect(server.requests.length).toBeGreaterThan(before + 3);
});

// An error of the page's listener is the page's, not the watch's.
test("a listener that throws does not keep a finished job from ending the watch", async () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => undefined);
  onTestFinished(() => reported.mockRestore());
  const end = longhaul.open(JOB_ID).subscribe(() => {
    throw new Error("the page's");
  });
  const seen = watch();
  await work(2);
  server.change({ status: "completed", progress: 100 });
  await pass(60 * SECOND);
  expect(seen.states.at(-1)).toMatchObject({ connection: "closed", job: { status: "completed" } });
  expect(server.requests).toHaveLength(1);
  expect(reported).toHaveBeenCalledWith(expect.objectContaining({ message: "the page's" }));
  end();
});
