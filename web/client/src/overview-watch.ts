import { ApiProblem } from "./errors.js";
import { dataOf, readEvents } from "./event-stream.js";
import type { Http } from "./http.js";
import { notify } from "./listeners.js";
import type { Slots } from "./slots.js";
import { backoff, pause, RequestSpacing } from "./timing.js";
import type { Overview } from "./types.js";
import type { Connection } from "./watch.js";

export interface OverviewListener {
  onOverview(overview: Overview): void;
  onConnection(connection: Connection): void;
  /** Called when a request failed; it is repeated. */
  onError(error: Error): void;
}

/** Milliseconds between two polls while there is no stream. */
const POLL_INTERVAL = 3_000;
/** Milliseconds between the starts of any two requests. */
const MIN_REQUEST_INTERVAL = 1_500;
const FIRST_BYTE_TIMEOUT = 3_000;
const SILENCE_TIMEOUT = 35_000;
/** Milliseconds after which the end of a stream does not count as a failure. */
const STABLE_AFTER = 10_000;
const MAX_BACKOFF = 30_000;

/**
 * Follows the overview by a stream, and polls while there is none. Drops overviews that are older
 * than the newest one.
 */
export class OverviewWatch {
  readonly #spacing = new RequestSpacing(MIN_REQUEST_INTERVAL);
  #newest = "";

  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
    private readonly listener: OverviewListener,
  ) {}

  /**
   * Run until `signal` aborts, then throw its reason. Throws `ApiProblem` for a permanent error.
   */
  async run(signal: AbortSignal): Promise<never> {
    this.listener.onConnection("connecting");
    for (let failures = 0; ; ) {
      const liveTime = await this.#stream(signal);
      failures = liveTime > STABLE_AFTER ? 1 : failures + 1;
      await this.#poll(performance.now() + backoff(failures, 2_000, MAX_BACKOFF), signal);
    }
  }

  /** Read a stream to its end; return how many milliseconds it was live. */
  async #stream(signal: AbortSignal): Promise<number> {
    const release = await this.slots.acquire();
    if (!release) return 0;
    let openedAt = Number.NaN;
    try {
      await this.#spacing.wait(signal);
      await readEvents(this.http, "/v1/admin/stream", {
        firstByteTimeout: FIRST_BYTE_TIMEOUT,
        silenceTimeout: SILENCE_TIMEOUT,
        signal,
        onOpen: () => {
          openedAt = performance.now();
          this.listener.onConnection("live");
        },
        onEvent: (event) => {
          this.#offer(dataOf(event) as Overview | null);
          return false;
        },
      });
    } catch (error) {
      signal.throwIfAborted();
      // Polling reports any other error.
      if (error instanceof ApiProblem && error.isPermanent) throw error;
    } finally {
      release();
    }
    return Number.isNaN(openedAt) ? 0 : performance.now() - openedAt;
  }

  /** Poll at least once, and until the given time, by `performance.now()`. */
  async #poll(until: number, signal: AbortSignal): Promise<void> {
    do {
      await this.#spacing.wait(signal);
      try {
        this.#offer(await this.http.json<Overview>("/v1/admin/overview", { signal }));
        this.listener.onConnection("polling");
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ApiProblem && error.isPermanent) throw error;
        this.listener.onConnection("reconnecting");
        this.listener.onError(error as Error);
      }
      await pause(Math.min(POLL_INTERVAL, Math.max(0, until - performance.now())), signal);
    } while (performance.now() < until);
  }

  #offer(overview: Overview | null): void {
    if (!overview || overview.timestamp < this.#newest) return;
    this.#newest = overview.timestamp;
    notify([() => this.listener.onOverview(overview)]);
  }
}
