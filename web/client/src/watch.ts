import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import { isFinished } from "./job.js";
import type { Slots } from "./slots.js";
import {
  anySignal,
  backoff,
  Flag,
  InterruptiblePauses,
  jittered,
  pause,
  RequestSpacing,
} from "./timing.js";
import { status, stream } from "./transports.js";
import type { Job } from "./types.js";

/**
 * How updates arrive: `live` by a stream, `polling` by requests, `reconnecting` while requests fail,
 * `connecting` before the first response, `closed` when there is nothing to watch.
 */
export type Connection = "connecting" | "live" | "polling" | "reconnecting" | "closed";

export interface WatchListener {
  onJob(job: Job): void;
  onConnection(connection: Connection): void;
}

/** Milliseconds between the starts of any two requests for one job. */
const MIN_REQUEST_INTERVAL = 1_500;
const FIRST_BYTE_TIMEOUT = 3_000;
const SILENCE_TIMEOUT = 35_000;
/** Milliseconds without an event of a job in progress after which a poll checks the stream. */
const DISTRUST_AFTER = 10_000;
/** Milliseconds that an event may arrive later than the response to a poll. */
const EVENT_DELAY = 1_000;
/** Milliseconds after which the end of a stream does not count as a failure. */
const STABLE_AFTER = 10_000;
const MAX_BACKOFF = 30_000;
const LONG_POLL_SECONDS = 25;
const POLL_INTERVAL = 2_500;
/** An unchanged response sooner than this (ms) means that the server does not support long polls. */
const MIN_HOLD_TIME = 1_000;
/** Plain polls until the next long poll is tried. */
const PLAIN_POLLS = 10;

/**
 * Follows a job until it is finished, with two loops. One keeps a stream open and reconnects when it
 * breaks. The other one polls, by long poll or plain poll, while there is no stream. Both update one
 * cursor, the job's version, which never decreases.
 */
export class Watch {
  readonly #spacing = new RequestSpacing(MIN_REQUEST_INTERVAL);
  readonly #pauses = new InterruptiblePauses();
  /** Set while there is no stream. */
  readonly #needsPolling = new Flag(false);
  readonly #finished = new AbortController();
  #currentPoll: AbortController | null = null;
  /** When the stream delivered its latest event, by `performance.now()`. */
  #eventAt = 0;
  #isProcessing = false;
  #connection: Connection = "connecting";

  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
    private readonly jobId: string,
    private readonly listener: WatchListener,
    private version = 0,
    private readonly pollInterval = POLL_INTERVAL,
  ) {}

  /**
   * Run until the job is finished. Throws `ApiProblem` for a permanent error, and the signal's
   * reason if it aborts.
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = anySignal(signal, this.#finished.signal);
    try {
      await Promise.race([this.#streamLoop(stop), this.#pollLoop(stop)]);
    } catch (reason) {
      if (signal.aborted || !this.#finished.signal.aborted) throw reason;
    } finally {
      this.#finished.abort();
    }
  }

  /** Skip the current pause, for example when the network is back. */
  retryNow(): void {
    this.#pauses.endAll();
  }

  /** A job store that was restored may end the job with a version that was there before. */
  #isNews(job: Job): boolean {
    const ends = isFinished(job) && !this.#finished.signal.aborted;
    return ends || job.version > this.version;
  }

  #offer(job: Job): void {
    if (this.#isNews(job)) {
      this.version = job.version;
      this.#isProcessing = job.status === "processing";
      // First, so that the watch ends even if the listener throws.
      if (isFinished(job)) this.#finished.abort();
      this.listener.onJob(job);
    }
  }

  #connected(connection: Connection): void {
    if (connection === this.#connection) return;
    this.#connection = connection;
    this.listener.onConnection(connection);
  }

  async #streamLoop(signal: AbortSignal): Promise<never> {
    for (let failures = 0; ; ) {
      const liveTime = await this.#stream(signal);
      this.#needsPolling.set();
      failures = liveTime > STABLE_AFTER ? 1 : failures + 1;
      await this.#pauses.pause(backoff(failures, 2_000, MAX_BACKOFF), signal);
    }
  }

  /** Read a stream to its end; return how many milliseconds it was live. */
  async #stream(signal: AbortSignal): Promise<number> {
    const release = await this.slots.acquire();
    if (!release) return 0;
    let openedAt = Number.NaN;
    const ended = new AbortController();
    const stop = anySignal(signal, ended.signal);
    try {
      await this.#spacing.wait(signal);
      const reading = stream(this.http, this.jobId, this.version, {
        firstByteTimeout: FIRST_BYTE_TIMEOUT,
        silenceTimeout: SILENCE_TIMEOUT,
        signal: stop,
        onOpen: () => {
          openedAt = performance.now();
          this.#opened();
        },
        onJob: (job) => {
          this.#eventAt = performance.now();
          this.#offer(job);
        },
      });
      await Promise.race([reading, this.#untilStale(stop)]);
    } catch {
      // Polling finds out whether the error is permanent.
      signal.throwIfAborted();
    } finally {
      ended.abort();
      release();
    }
    return Number.isNaN(openedAt) ? 0 : performance.now() - openedAt;
  }

  /** Poll while the stream is silent, and return when a poll delivers what the stream does not. */
  async #untilStale(signal: AbortSignal): Promise<void> {
    for (let checkedAt = performance.now(); ; ) {
      const since = Math.max(checkedAt, this.#eventAt);
      await pause(since + DISTRUST_AFTER - performance.now(), signal);
      if (this.#eventAt > since) continue;
      checkedAt = performance.now();
      if (!this.#isProcessing) continue;
      await this.#spacing.wait(signal);
      const job = await status(this.http, this.jobId, 0, 0, signal).catch(() => null);
      if (!job || !this.#isNews(job)) continue;
      this.#offer(job);
      await pause(EVENT_DELAY, signal);
      if (this.#eventAt < checkedAt) return;
    }
  }

  #opened(): void {
    this.#needsPolling.clear();
    this.#currentPoll?.abort();
    this.#connected("live");
  }

  async #pollLoop(signal: AbortSignal): Promise<never> {
    let failures = 0;
    for (let plainPolls = 0; ; ) {
      await this.#needsPolling.wait(signal);
      this.#currentPoll = new AbortController();
      const stop = anySignal(signal, this.#currentPoll.signal);
      try {
        const held = await this.#pollOnce(plainPolls === 0, stop);
        failures = 0;
        if (!held) plainPolls = plainPolls ? plainPolls - 1 : PLAIN_POLLS;
        if (!held) await this.#pauses.pause(jittered(this.pollInterval), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (this.#currentPoll.signal.aborted) continue;
        if (error instanceof ApiProblem && error.isPermanent) throw error;
        this.#connected("reconnecting");
        plainPolls = PLAIN_POLLS;
        failures += 1;
        const requested = error instanceof ApiProblem ? (error.retryAfter ?? 0) : 0;
        await this.#pauses.pause(
          Math.max(requested, backoff(failures, 2_000, MAX_BACKOFF)),
          signal,
        );
      } finally {
        this.#currentPoll.abort();
      }
    }
  }

  /** Poll once; return whether the server held the response, as it does for a long poll. */
  async #pollOnce(hold: boolean, signal: AbortSignal): Promise<boolean> {
    const release = hold ? await this.slots.acquire() : null;
    try {
      await this.#spacing.wait(signal);
      const before = this.version;
      const startedAt = performance.now();
      const wait = release ? LONG_POLL_SECONDS : 0;
      const job = await status(this.http, this.jobId, before, wait, signal);
      this.#connected("polling");
      if (job) this.#offer(job);
      return (
        release !== null && (this.version > before || performance.now() - startedAt > MIN_HOLD_TIME)
      );
    } finally {
      release?.();
    }
  }
}
