/** The part of the Web Locks API that the client uses, shared by the tabs of a browser. */
export class FakeLocks {
  readonly #held = new Map<string, { reject: (reason: unknown) => void }>();
  readonly #queues = new Map<string, (() => void)[]>();

  request = (
    name: string,
    options: LockOptions,
    callback: (lock: Lock | null) => unknown,
  ): Promise<unknown> => {
    if (options.ifAvailable && this.#held.has(name)) return Promise.resolve(callback(null));
    if (options.steal) {
      this.#held.get(name)?.reject(new DOMException("stolen", "AbortError"));
      this.#held.delete(name);
      return this.#hold(name, callback);
    }
    return new Promise((resolve, reject) => {
      const grant = () => {
        if (options.signal?.aborted) return this.#next(name);
        this.#hold(name, callback).then(resolve, reject);
      };
      options.signal?.addEventListener("abort", () => {
        const queue = this.#queues.get(name) ?? [];
        const waiting = queue.indexOf(grant);
        if (waiting >= 0) queue.splice(waiting, 1);
        reject(options.signal?.reason);
      });
      if (!this.#held.has(name)) return grant();
      this.#queues.set(name, [...(this.#queues.get(name) ?? []), grant]);
    });
  };

  #hold(name: string, callback: (lock: Lock | null) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const mine = { reject };
      this.#held.set(name, mine);
      const free = () => {
        if (this.#held.get(name) !== mine) return;
        this.#held.delete(name);
        this.#next(name);
      };
      Promise.resolve(callback({ name, mode: "exclusive" }))
        .then(resolve, reject)
        .finally(free);
    });
  }

  #next(name: string): void {
    if (!this.#held.has(name)) this.#queues.get(name)?.shift()?.();
  }

  get manager(): LockManager {
    return this as unknown as LockManager;
  }
}

/** The BroadcastChannel class of a browser: messages reach all other channels with the same name. */
export function fakeChannels(): typeof BroadcastChannel {
  const open = new Set<{ name: string; onmessage: ((event: MessageEvent) => void) | null }>();
  class Channel {
    onmessage: ((event: MessageEvent) => void) | null = null;
    constructor(readonly name: string) {
      open.add(this);
    }
    postMessage(data: unknown): void {
      for (const other of open) {
        if (other === this || other.name !== this.name) continue;
        queueMicrotask(() => other.onmessage?.({ data: structuredClone(data) } as MessageEvent));
      }
    }
    close(): void {
      open.delete(this);
    }
  }
  return Channel as unknown as typeof BroadcastChannel;
}

export class FakeStorage implements Storage {
  readonly #items = new Map<string, string>();
  [name: string]: unknown;
  get length(): number {
    return this.#items.size;
  }
  clear = () => this.#items.clear();
  getItem = (key: string) => this.#items.get(key) ?? null;
  key = (index: number) => [...this.#items.keys()][index] ?? null;
  removeItem = (key: string) => void this.#items.delete(key);
  setItem = (key: string, value: string) => void this.#items.set(key, value);
}
