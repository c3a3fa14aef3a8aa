/** What `work` brings, unless the signal comes first: then its reason. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Resolves after `ms` milliseconds; rejects with the signal's reason when that comes first. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await unlessAborted(over, signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Milliseconds to wait after the n-th failure in a row: doubling from `base` up to `cap`, the upper
 * half of it random, so that many clients do not come back at the same moment.
 */
export function backoff(failures: number, base: number, cap: number): number {
  const ceiling = Math.min(cap, base * 2 ** Math.max(0, failures - 1));
  return ceiling * (0.5 + Math.random() / 2);
}

/** `ms`, up to a fifth more or less. */
export function jittered(ms: number): number {
  return ms * (0.8 + Math.random() * 0.4);
}

/**
 * Keeps the starts of requests at least `gap` milliseconds apart, whoever asks. All requests that
 * watch one job take their turn here, so no combination of failures can make a request storm.
 */
export class Pace {
  #next = 0;

  constructor(private readonly gap: number) {}

  async turn(signal: AbortSignal): Promise<void> {
    const now = Date.now();
    const at = Math.max(now, this.#next);
    this.#next = at + this.gap;
    if (at > now) await pause(at - now, signal);
    signal.throwIfAborted();
  }
}

/** Something that is true or not, and that can be waited for. */
export class Flag {
  #waiting: (() => void)[] = [];

  constructor(private raised: boolean) {}

  get isRaised(): boolean {
    return this.raised;
  }

  raise(): void {
    this.raised = true;
    for (const go of this.#waiting.splice(0)) go();
  }

  lower(): void {
    this.raised = false;
  }

  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!this.raised) {
      const raised = new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
      await unlessAborted(raised, signal);
    }
  }
}

/** Pauses that good news, such as the network's return, cuts short. */
export class Naps {
  #naps = new Set<() => void>();

  async take(ms: number, signal: AbortSignal): Promise<void> {
    const nap = new AbortController();
    const wake = () => nap.abort();
    this.#naps.add(wake);
    try {
      await pause(ms, AbortSignal.any([signal, nap.signal]));
    } catch (reason) {
      if (signal.aborted) throw reason;
    } finally {
      this.#naps.delete(wake);
    }
  }

  wakeAll(): void {
    for (const wake of this.#naps) wake();
  }
}
