import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ApiProblem, type Connection, Longhaul, type Overview } from "../src/index.js";
import { FakeServer, json } from "./fake-server.js";

const SECOND = 1_000;
const STREAM = "GET /v1/admin/stream";
const OVERVIEW = "GET /v1/admin/overview";

let server: FakeServer;
let operator: Longhaul["operator"];
let stop: AbortController;
/** Sends the current overview to the stream. */
let notify: () => void;
let waiting: number;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  operator = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch }).operator;
  stop = new AbortController();
  notify = () => undefined;
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

/** Serve a stream that sends the overview at its start and whenever `notify` is called. */
function stream({ cutAfter, silent = false }: { cutAfter?: number; silent?: boolean } = {}) {
  server.on(STREAM, (_, init) => {
    const body = new ReadableStream({
      start: (controller) => {
        const send = () => {
          const event = `event: overview\nid: 1\ndata: ${JSON.stringify(overview())}\n\n`;
          controller.enqueue(new TextEncoder().encode(event));
        };
        if (!silent) {
          notify = send;
          send();
        }
        const end = () => {
          notify = () => undefined;
          controller.close();
        };
        const timer = cutAfter ? setTimeout(end, cutAfter) : undefined;
        init.signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          notify = () => undefined;
        });
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  });
}

function watch() {
  const seen = { waiting: [] as number[], connections: [] as Connection[], errors: 0 };
  const ended = operator.watch(
    {
      onOverview: ({ statistics }) => seen.waiting.push(statistics.totalWaiting),
      onConnection: (connection) => seen.connections.push(connection),
      onError: () => {
        seen.errors += 1;
      },
    },
    stop.signal,
  );
  const error = ended.catch((reason: unknown) => reason);
  return { seen, error };
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Change the overview every second, for `seconds`. */
async function work(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    waiting += 1;
    notify();
    await pass(SECOND);
  }
}

test("a working stream delivers every change with one request", async () => {
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
  ["cut immediately", () => stream({ cutAfter: 1 })],
  ["rejected", () => server.on(STREAM, () => json({ code: "BACKEND_UNAVAILABLE" }, 503))],
])(
  "with streams that are %s updates arrive with less than one request per second",
  async (_, fail) => {
    fail();
    const { seen } = watch();
    await work(120);
    expect(seen.waiting.length).toBeGreaterThan(20);
    expect(seen.waiting).toEqual(seen.waiting.toSorted((a, b) => a - b));
    expect(server.requests.length / 120).toBeLessThan(0.8);
  },
);

test("the watch returns to streams when they work again", async () => {
  stream({ silent: true });
  const { seen } = watch();
  await work(60);
  expect(seen.connections.at(-1)).toBe("polling");
  stream();
  await work(35);
  expect(seen.connections.at(-1)).toBe("live");
});

test("while the server is down errors are reported and requests repeated", async () => {
  stream();
  server.down = true;
  const { seen } = watch();
  await pass(60 * SECOND);
  expect(seen.connections.at(-1)).toBe("reconnecting");
  expect(seen.errors).toBeGreaterThan(5);
  server.down = false;
  await pass(5 * SECOND);
  expect(seen.waiting.length).toBeGreaterThan(0);
});

test("an overview that is older than the current one is dropped", async () => {
  server.on(STREAM, () => json({}, 503));
  const { seen } = watch();
  await pass(4 * SECOND);
  const count = seen.waiting.length;
  expect(count).toBeGreaterThan(0);
  server.on(OVERVIEW, () => json(overview("2001-01-01T00:00:00.000Z")));
  await pass(20 * SECOND);
  expect(seen.waiting).toHaveLength(count);
});

test("a user who is not an operator gets an error, and there are no more requests", async () => {
  server.on(STREAM, () => json({ code: "FORBIDDEN" }, 403));
  const { error } = watch();
  await pass(SECOND);
  expect(await error).toBeInstanceOf(ApiProblem);
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(1);
});

test("the signal ends the watch", async () => {
  stream();
  const { error } = watch();
  await work(2);
  stop.abort(new Error("stopped"));
  expect(await error).toEqual(new Error("stopped"));
  await pass(60 * SECOND);
  expect(server.requests).toHaveLength(1);
});

// Only the API itself can say that watching is pointless.
test("a 404 of an ingress is repeated like any other error", async () => {
  const html = () => new Response("<h1>default backend</h1>", { status: 404 });
  server.on(STREAM, html);
  server.on(OVERVIEW, html);
  const { seen } = watch();
  await pass(30 * SECOND);
  expect(seen.connections.at(-1)).toBe("reconnecting");
  server.on(OVERVIEW, () => json(overview()));
  await pass(60 * SECOND);
  expect(seen.connections.at(-1)).toBe("polling");
});
