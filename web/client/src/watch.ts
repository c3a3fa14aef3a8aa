import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import { isFinished } from "./job.js";
import type { Slots } from "./slots.js";
import { backoff, Flag, jittered, Naps, Pace } from "./timing.js";
import { status, stream } from "./transports.js";
import type { Job } from "./types.js";

/**
 * How news of the job comes: `live` by a stream, `polling` by asking, `reconnecting` while nothing
 * answers, `connecting` before the first answer, `closed` when there is nothing to watch.
 */
export type Connection = "connecting" | "live" | "polling" | "reconnecting" | "closed";

export interface WatchListener {
  onJob(job: Job): void;
  onConnection(connection: Connection): void;
}

/** Milliseconds between the starts of any two requests for one job. */
const GAP = 1_500;
const FIRST_BYTE = 3_000;
const SILENCE = 35_000;
/** Milliseconds of a stream after which its end is no sign of trouble. */
const STEADY = 10_000;
const LONGEST_BACKOFF = 30_000;
const HOLD_SECONDS = 25;
const POLL_EVERY = 2_500;
/** An unchanged answer sooner than this (ms) means that the server does not hold answers back. */
const HELD_AT_LEAST = 1_000;
/** Plain polls until holding is tried again. */
const PLAIN_POLLS = 10;

/**
 * Follows one job until it is finished, by two loops. One keeps a stream open, and comes back to it
 * whenever it breaks. The other asks, by long poll or by plain poll, for as long as no stream
 * brings news. Both feed one cursor, the job's version, which never goes backwards.
 */
export class Watch {
  readonly #pace = new Pace(GAP);
  readonly #naps = new Naps();
  /** Raised while no stream brings news. */
  readonly #ask = new Flag(false);
  readonly #over = new AbortController();
  #asking: AbortController | null = null;
  #connection: Connection = "connecting";

  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
    private readonly jobId: string,
    private readonly listener: WatchListener,
    private version = 0,
  ) {}

  /**
   * Returns when the job is finished. Throws `ApiProblem` when the API refuses for good (401, 403,
   * 404), and the signal's reason when that is aborted.
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#over.signal]);
    try {
      await Promise.race([this.#streamLoop(stop), this.#askLoop(stop)]);
    } catch (reason) {
      if (signal.aborted || !this.#over.signal.aborted) throw reason;
    } finally {
      this.#over.abort();
    }
  }

  /** Good news, such as the network's return: try again at once, within the pace. */
  nudge(): void {
    this.#naps.wakeAll();
  }

  #offer(job: Job): void {
    if (job.version > this.version) {
      this.version = job.version;
      this.listener.onJob(job);
      if (isFinished(job)) this.#over.abort();
    }
  }

  #connected(connection: Connection): void {
    if (connection === this.#connection) return;
    this.#connection = connection;
    this.listener.onConnection(connection);
  }

  async #streamLoop(signal: AbortSignal): Promise<never> {
    for (let failures = 0; ; ) {
      const lived = await this.#stream(signal);
      this.#ask.raise();
      failures = lived > STEADY ? 1 : failures + 1;
      await this.#naps.take(backoff(failures, 2_000, LONGEST_BACKOFF), signal);
    }
  }

  /** One stream from its start to its end; how many milliseconds it was live. */
  async #stream(signal: AbortSignal): Promise<number> {
    const release = await this.slots.take();
    if (!release) return 0;
    let openedAt = Number.NaN;
    try {
      await this.#pace.turn(signal);
      await stream(this.http, this.jobId, this.version, {
        firstByte: FIRST_BYTE,
        silence: SILENCE,
        signal,
        onOpen: () => {
          openedAt = Date.now();
          this.#opened();
        },
        onJob: (job) => this.#offer(job),
      });
    } catch {
      // Why it broke does not matter here: asking finds out whether the API refuses for good.
      signal.throwIfAborted();
    } finally {
      release();
    }
    return openedAt ? Date.now() - openedAt : 0;
  }

  #opened(): void {
    this.#ask.lower();
    this.#asking?.abort();
    this.#connected("live");
  }

  async #askLoop(signal: AbortSignal): Promise<never> {
    let failures = 0;
    for (let plain = 0; ; ) {
      await this.#ask.wait(signal);
      this.#asking = new AbortController();
      const stop = AbortSignal.any([signal, this.#asking.signal]);
      try {
        const held = await this.#askOnce(plain === 0, stop);
        failures = 0;
        if (!held) plain = plain ? plain - 1 : PLAIN_POLLS;
        if (!held) await this.#naps.take(jittered(POLL_EVERY), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (this.#asking.signal.aborted) continue;
        if (refusedForGood(error)) throw error;
        this.#connected("reconnecting");
        plain = PLAIN_POLLS;
        failures += 1;
        const asked = error instanceof ApiProblem ? (error.retryAfter ?? 0) : 0;
        await this.#naps.take(Math.max(asked, backoff(failures, 2_000, LONGEST_BACKOFF)), signal);
      }
    }
  }

  /** One question; whether the server held its answer back until there was news, or a long time. */
  async #askOnce(hold: boolean, signal: AbortSignal): Promise<boolean> {
    const release = hold ? await this.slots.take() : null;
    try {
      await this.#pace.turn(signal);
      const before = this.version;
      const begun = Date.now();
      const wait = release ? HOLD_SECONDS : 0;
      const job = await status(this.http, this.jobId, before, wait, signal);
      this.#connected("polling");
      if (job) this.#offer(job);
      return release !== null && (this.version > before || Date.now() - begun > HELD_AT_LEAST);
    } finally {
      release?.();
    }
  }
}

function refusedForGood(error: unknown): boolean {
  return error instanceof ApiProblem && [401, 403, 404].includes(error.status);
}
