import { pause } from "./timing.js";

/** The longest timeout of a browser, in milliseconds. */
const MAX_TIMEOUT = 2 ** 31 - 1;
/** Milliseconds after the expiry until the first check, and the maximum between two checks. */
const FIRST_CHECK = 1_000;
const MAX_CHECK_INTERVAL = 300_000;

/**
 * Asks the API from a job's expiry on until it says that the archive has expired. It may say so
 * later: a clean-up deletes archives, and the device's clock may be wrong.
 */
export class ExpiryCheck {
  #time = Number.POSITIVE_INFINITY;
  #abort = new AbortController();

  constructor(private readonly refresh: () => Promise<void>) {}

  /** Check from this time on, in milliseconds since 1970; never if it is Infinity. */
  schedule(time: number): void {
    if (time === this.#time) return;
    this.#time = time;
    this.#abort.abort();
    this.#abort = new AbortController();
    const wait = Math.max(0, time - Date.now()) + FIRST_CHECK;
    if (wait < MAX_TIMEOUT) this.#run(wait, this.#abort.signal).catch(() => undefined);
  }

  async #run(wait: number, signal: AbortSignal): Promise<void> {
    await pause(wait, signal);
    for (let interval = 2 * FIRST_CHECK; ; interval = Math.min(MAX_CHECK_INTERVAL, interval * 2)) {
      await this.refresh().catch(() => undefined);
      await pause(interval, signal);
    }
  }
}
