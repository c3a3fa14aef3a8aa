import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiProblem, type Connection, Longhaul, type Overview } from "../src/index.js";
import { FakeServer, json } from "./fake-server.js";

const SECOND = 1_000;
const STREAM = "GET /v1/admin/stream";
const OVERVIEW = "GET /v1/admin/overview";

let server: FakeServer;
let operator: Longhaul["operator"];
let stop: AbortController;
/** Sends what is there now to every stream. */
let tell: () => void;
let waiting: number;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  operator = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch }).operator;
  stop = new AbortController();
  tell = () => undefined;
  waiting = 0;
  server.on(OVERVIEW, () => json(overview()));
});

afterEach(() => {
  stop.abort();
  vi.useRealTimers();
});

function overview(timestamp = new Date().toISOString()): Partial<Overview> {
  const statistics = { totalWaiting: waiting } as Overview["statistics"];
  return { statistics, workers: [], failures: [], timestamp };
}

/** A stream that tells the overview at first and whenever `tell` is called. */
function stream({ cutAfter, silent = false }: { cutAfter?: number; silent?: boolean } = {}) {
  server.on(STREAM, (_, init) => {
    const body = new ReadableStream({
      start: (controller) => {
        const send = () => {
          const event = `event: overview\nid: 1\ndata: ${JSON.stringify(overview())}\n\n`;
          controller.enqueue(new TextEncoder().encode(event));
        };
        if (!silent) {
          tell = send;
          send();
        }
        const end = () => {
          tell = () => undefined;
          controller.close();
        };
        const timer = cutAfter ? setTimeout(end, cutAfter) : undefined;
        init.signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          tell = () => undefined;
        });
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  });
}

function watch() {
  const seen = { waiting: [] as number[], connections: [] as Connection[], troubles: 0 };
  const ended = operator.watch(
    {
      onOverview: ({ statistics }) => seen.waiting.push(statistics.totalWaiting),
      onConnection: (connection) => seen.connections.push(connection),
      onTrouble: () => {
        seen.troubles += 1;
      },
    },
    stop.signal,
  );
  const refusal = ended.catch((error: unknown) => error);
  return { seen, refusal };
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Something new every second, for `seconds`. */
async function work(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    waiting += 1;
    tell();
    await pass(SECOND);
  }
}

test("a good stream brings every change with one request", async () => {
  stream();
  const { seen } = watch();
  await pass(1);
  await work(20);
  expect(seen.waiting).toEqual(Array.from({ length: 21 }, (_, number) => number));
  expect(seen.connections).toEqual(["connecting", "live"]);
  expect(server.requests).toHaveLength(1);
});

test.each([
  ["buffered", () => stream({ silent: true })],
  ["cut every three seconds", () => stream({ cutAfter: 3 * SECOND })],
  ["cut at once", () => stream({ cutAfter: 1 })],
  ["refused", () => server.on(STREAM, () => json({ code: "BACKEND_UNAVAILABLE" }, 503))],
])("with streams that are %s there is news, and less than a request a second", async (_, fail) => {
  fail();
  const { seen } = watch();
  await work(120);
  expect(seen.waiting.length).toBeGreaterThan(20);
  expect(seen.waiting).toEqual(seen.waiting.toSorted((a, b) => a - b));
  expect(server.requests.length / 120).toBeLessThan(0.8);
});

test("when streams work again the watch comes back to them", async () => {
  stream({ silent: true });
  const { seen } = watch();
  await work(60);
  expect(seen.connections.at(-1)).toBe("polling");
  stream();
  await work(35);
  expect(seen.connections.at(-1)).toBe("live");
});

test("while nothing answers the trouble is told, and asked for again", async () => {
  stream();
  server.down = true;
  const { seen } = watch();
  await pass(60 * SECOND);
  expect(seen.connections.at(-1)).toBe("reconnecting");
  expect(seen.troubles).toBeGreaterThan(5);
  server.down = false;
  await pass(5 * SECOND);
  expect(seen.waiting.length).toBeGreaterThan(0);
});

test("an answer that is older than what is known is dropped", async () => {
  server.on(STREAM, () => json({}, 503));
  const { seen } = watch();
  await pass(4 * SECOND);
  const known = seen.waiting.length;
  expect(known).toBeGreaterThan(0);
  server.on(OVERVIEW, () => json(overview("2001-01-01T00:00:00.000Z")));
  await pass(20 * SECOND);
  expect(seen.waiting).toHaveLength(known);
});

test("who is no operator is told so, and nothing further is asked", async () => {
  server.on(STREAM, () => json({ code: "FORBIDDEN" }, 403));
  const { refusal } = watch();
  await pass(SECOND);
  expect(await refusal).toBeInstanceOf(ApiProblem);
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(1);
});

test("the signal ends it", async () => {
  stream();
  const { refusal } = watch();
  await work(2);
  stop.abort(new Error("enough"));
  expect(await refusal).toEqual(new Error("enough"));
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(1);
});
