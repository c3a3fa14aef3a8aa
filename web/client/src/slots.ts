/** Releases a slot. */
export type Release = () => void;

/**
 * Limits the number of open streams and long polls. Over HTTP/1.1 a browser opens at most six
 * connections to a host for all tabs together, and other requests need some of them.
 */
export class Slots {
  #acquired = new Set<number>();

  constructor(
    private readonly name: string,
    private readonly count: number,
    private readonly locks: LockManager | undefined,
  ) {}

  /** Acquire a slot; return null if all are in use. Web Locks include those of other tabs. */
  async acquire(): Promise<Release | null> {
    for (let slot = 0; slot < this.count; slot++) {
      if (this.#acquired.has(slot)) continue;
      this.#acquired.add(slot);
      const release = await this.#lock(slot);
      if (release) return release;
      this.#acquired.delete(slot);
    }
    return null;
  }

  /** Lock a slot; null if another tab uses it. If the browser denies Web Locks, it is this tab's. */
  #lock(slot: number): Promise<Release | null> {
    const { locks } = this;
    const release = () => void this.#acquired.delete(slot);
    if (!locks) return Promise.resolve(release);
    return new Promise((resolve) => {
      const held = (lock: Lock | null) => {
        if (!lock) return resolve(null);
        return new Promise<void>((unlock) => {
          resolve(() => {
            release();
            unlock();
          });
        });
      };
      locks
        .request(`${this.name}:slot:${slot}`, { ifAvailable: true }, held)
        .catch(() => resolve(release));
    });
  }
}
