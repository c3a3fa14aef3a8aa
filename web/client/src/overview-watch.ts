import { ApiProblem } from "./errors.js";
import { dataOf, readEvents } from "./event-stream.js";
import type { Http } from "./http.js";
import type { Slots } from "./slots.js";
import { backoff, Pace, pause } from "./timing.js";
import type { Overview } from "./types.js";
import type { Connection } from "./watch.js";

export interface OverviewListener {
  onOverview(overview: Overview): void;
  onConnection(connection: Connection): void;
  /** What was asked for did not come; it is asked for again. */
  onTrouble(error: Error): void;
}

/** Milliseconds between two questions while no stream brings news. */
const POLL_EVERY = 3_000;
/** Milliseconds between the starts of any two requests. */
const GAP = 1_500;
const FIRST_BYTE = 3_000;
const SILENCE = 35_000;
/** Milliseconds of a stream after which its end is no sign of trouble. */
const STEADY = 10_000;
const LONGEST_BACKOFF = 30_000;

/**
 * Follows the overview: a stream for as long as there is one, and between two tries of a stream by
 * asking. What is older than what is known is dropped.
 */
export class OverviewWatch {
  readonly #pace = new Pace(GAP);
  #newest = "";

  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
    private readonly listener: OverviewListener,
  ) {}

  /**
   * Never returns. Throws `ApiProblem` when the API refuses for good (401, 403, 404, 405), and the
   * signal's reason when that is aborted.
   */
  async run(signal: AbortSignal): Promise<never> {
    this.listener.onConnection("connecting");
    for (let failures = 0; ; ) {
      const lived = await this.#stream(signal);
      failures = lived > STEADY ? 1 : failures + 1;
      await this.#ask(Date.now() + backoff(failures, 2_000, LONGEST_BACKOFF), signal);
    }
  }

  /** One stream from its start to its end; how many milliseconds it was live. */
  async #stream(signal: AbortSignal): Promise<number> {
    const release = await this.slots.take();
    if (!release) return 0;
    let openedAt = Number.NaN;
    try {
      await this.#pace.turn(signal);
      await readEvents(this.http, "/v1/admin/stream", {
        firstByte: FIRST_BYTE,
        silence: SILENCE,
        signal,
        onOpen: () => {
          openedAt = Date.now();
          this.listener.onConnection("live");
        },
        onEvent: (event) => {
          this.#offer(dataOf(event) as Overview | null);
          return false;
        },
      });
    } catch (error) {
      signal.throwIfAborted();
      // Other reasons do not matter here: asking finds out what is wrong.
      if (isRefusal(error)) throw error;
    } finally {
      release();
    }
    return openedAt ? Date.now() - openedAt : 0;
  }

  /** Ask at least once, and again and again until the time has come (ms since 1970). */
  async #ask(until: number, signal: AbortSignal): Promise<void> {
    do {
      await this.#pace.turn(signal);
      try {
        this.#offer(await this.http.json<Overview>("/v1/admin/overview", { signal }));
        this.listener.onConnection("polling");
      } catch (error) {
        signal.throwIfAborted();
        if (isRefusal(error)) throw error;
        this.listener.onConnection("reconnecting");
        this.listener.onTrouble(error as Error);
      }
      await pause(Math.min(POLL_EVERY, Math.max(0, until - Date.now())), signal);
    } while (Date.now() < until);
  }

  #offer(overview: Overview | null): void {
    if (!overview || overview.timestamp < this.#newest) return;
    this.#newest = overview.timestamp;
    this.listener.onOverview(overview);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof ApiProblem && [401, 403, 404, 405].includes(error.status);
}
