import type { Job } from "../src/index.js";

export const JOB_ID = "5c8f7d0e-9d0c-4f6e-8a53-0d6c2b1f4a11";

export function job(change: Partial<Job> = {}): Job {
  return {
    jobId: JOB_ID,
    status: "queued",
    version: 1,
    progress: 0,
    totalFiles: 3,
    processedFiles: 0,
    totalBytes: null,
    processedBytes: 0,
    missingFiles: 0,
    queuePosition: null,
    estimatedSecondsRemaining: null,
    estimatedCompletion: null,
    downloadUrl: null,
    expiresAt: null,
    availableUntil: null,
    fileName: null,
    fileSize: null,
    contentType: null,
    checksum: null,
    error: null,
    errorCode: null,
    retryable: null,
    retriesRemaining: null,
    attempt: 0,
    maxAttempts: 3,
    retryAt: null,
    priority: "normal",
    metadata: {},
    downloads: 0,
    createdAt: "2026-03-01T12:00:00.000Z",
    startedAt: null,
    updatedAt: "2026-03-01T12:00:00.000Z",
    completedAt: null,
    ...change,
  };
}

type Respond = (url: URL, init: RequestInit) => Response | Promise<Response>;

/** An API server with one job, and faults that tests can inject. Uses the test's clock. */
export class FakeServer {
  now = job();
  /** Each request and its start, in milliseconds of the test's clock. */
  readonly requests: { at: number; path: string; init: RequestInit }[] = [];
  stream: "good" | "buffered" | "rejected" | "unreachable" | { cutAfter: number } = "good";
  longPoll: "good" | "ignored" | "rejected" = "good";
  down = false;
  /** Open streams deliver nothing, as if a proxy had lost the connection without closing it. */
  frozen = false;
  readonly #routes = new Map<string, Respond>();
  readonly #listeners = new Set<() => void>();
  openStreams = 0;

  fetch: typeof fetch = async (input, init = {}) => {
    const url = new URL(String(input), "http://longhaul.test");
    this.requests.push({ at: Date.now(), path: url.pathname + url.search, init });
    if (this.down) throw new TypeError("fetch failed");
    const respond = this.#routes.get(`${init.method} ${url.pathname}`);
    if (respond) return respond(url, init);
    if (url.pathname.startsWith("/v1/download/subscribe/")) return this.#subscribe(init);
    if (url.pathname.startsWith("/v1/download/status/")) return this.#status(url, init);
    return json({ code: "NOT_FOUND", detail: "Not found" }, 404);
  };

  on(call: string, respond: Respond): void {
    this.#routes.set(call, respond);
  }

  change(change: Partial<Job>): void {
    this.now = { ...this.now, version: this.now.version + 1, ...change };
    for (const notify of this.#listeners) notify();
  }

  count(part: string): number {
    return this.requests.filter(({ path }) => path.includes(part)).length;
  }

  async #subscribe(init: RequestInit): Promise<Response> {
    if (this.stream === "rejected") return json({ code: "STREAMS_FULL" }, 503);
    if (this.stream === "unreachable") throw new TypeError("fetch failed");
    return new Response(this.#events(init.signal), {
      headers: { "Content-Type": "text/event-stream; charset=utf-8" },
    });
  }

  #events(signal: AbortSignal | null | undefined): ReadableStream<Uint8Array> {
    const mode = this.stream;
    const encoder = new TextEncoder();
    let notify: () => void = () => undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      this.openStreams -= this.#listeners.delete(notify) ? 1 : 0;
      clearTimeout(timer);
    };
    return new ReadableStream({
      start: (controller) => {
        notify = () => {
          if (mode !== "buffered" && !this.frozen)
            controller.enqueue(encoder.encode(this.#event()));
        };
        this.#listeners.add(notify);
        this.openStreams += 1;
        notify();
        const cut = () => {
          end();
          controller.error(new TypeError("network error"));
        };
        if (typeof mode === "object") timer = setTimeout(cut, mode.cutAfter);
        signal?.addEventListener("abort", () => {
          end();
          controller.error(signal.reason);
        });
      },
      cancel: end,
    });
  }

  #event(): string {
    const data = JSON.stringify({ ...this.now, timestamp: new Date().toISOString() });
    return `id: ${this.now.version}\nevent: progress\ndata: ${data}\n\n`;
  }

  async #status(url: URL, init: RequestInit): Promise<Response> {
    const wait = Number(url.searchParams.get("wait") ?? 0);
    const since = Number(url.searchParams.get("since") ?? 0);
    if (wait && this.longPoll === "rejected") return json({ code: "GATEWAY" }, 504);
    if (wait && this.longPoll === "good" && this.now.version <= since) {
      await this.#waitForChange(wait * 1000, init.signal);
      if (this.now.version <= since) return new Response(null, { status: 304 });
    }
    return json(this.now, this.now.status === "cancelled" ? 410 : 200);
  }

  #waitForChange(timeout: number, signal: AbortSignal | null | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const notify = () => {
        this.#listeners.delete(notify);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(notify, timeout);
      this.#listeners.add(notify);
      signal?.addEventListener("abort", () => {
        notify();
        reject(signal.reason);
      });
    });
  }
}

export function json(body: unknown, status = 200, headers: HeadersInit = {}): Response {
  const content = { "Content-Type": "application/json", ...headers };
  return new Response(JSON.stringify(body), { status, headers: content });
}
