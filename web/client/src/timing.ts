/** Return the result of `work`, or throw the signal's reason if it aborts first. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/**
 * Return a signal that aborts with the first of `signals`: `AbortSignal.any`, also for older
 * browsers. There, the long-lived signals refer to the result until one of them aborts, so abort one
 * of your own when you no longer need it.
 */
export function anySignal(...signals: AbortSignal[]): AbortSignal {
  if (typeof AbortSignal.any === "function") return AbortSignal.any(signals);
  const any = new AbortController();
  const abort = ({ target }: { target: unknown }) => {
    any.abort((target as AbortSignal).reason);
    for (const signal of signals) signal.removeEventListener("abort", abort);
  };
  for (const signal of signals) {
    if (signal.aborted) abort({ target: signal });
    else signal.addEventListener("abort", abort);
  }
  return any.signal;
}

/** Wait for `ms` milliseconds; throw the signal's reason if it aborts first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const elapsed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await unlessAborted(elapsed, signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Return the milliseconds to wait after the n-th failure in a row. The value doubles from `base` up
 * to `cap`; its upper half is random, so that clients do not retry at the same moment.
 */
export function backoff(failures: number, base: number, cap: number): number {
  const ceiling = Math.min(cap, base * 2 ** Math.max(0, failures - 1));
  return ceiling * (0.5 + Math.random() / 2);
}

/** Return `ms`, changed by up to 20% at random. */
export function jittered(ms: number): number {
  return ms * (0.8 + Math.random() * 0.4);
}

/**
 * Keeps the starts of requests at least `interval` milliseconds apart. All requests that watch a job
 * wait here, so that no combination of failures can cause a burst of requests.
 */
export class RequestSpacing {
  #next = 0;

  constructor(private readonly interval: number) {}

  async wait(signal: AbortSignal): Promise<void> {
    // Unlike the time of day, this clock is never set back.
    const now = performance.now();
    const at = Math.max(now, this.#next);
    this.#next = at + this.interval;
    if (at > now) await pause(at - now, signal);
    signal.throwIfAborted();
  }
}

/** A flag that callers can wait for. */
export class Flag {
  #waiting: (() => void)[] = [];

  constructor(private value: boolean) {}

  get isSet(): boolean {
    return this.value;
  }

  set(): void {
    this.value = true;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  clear(): void {
    this.value = false;
  }

  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!this.value) {
      const set = new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
      await unlessAborted(set, signal);
    }
  }
}

/** Pauses that can be ended early, for example when the network is back. */
export class InterruptiblePauses {
  #ends = new Set<() => void>();

  async pause(ms: number, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const end = () => ended.abort();
    this.#ends.add(end);
    try {
      await pause(ms, anySignal(signal, ended.signal));
    } catch (reason) {
      if (signal.aborted) throw reason;
    } finally {
      end();
      this.#ends.delete(end);
    }
  }

  endAll(): void {
    for (const end of this.#ends) end();
  }
}
