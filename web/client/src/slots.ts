/** Gives back what was taken. */
export type Release = () => void;

/**
 * How many requests may be held open at once. A browser keeps six connections to a host over
 * HTTP/1.1, for all tabs together, and the calls of the page need some of them.
 */
export class Slots {
  #taken = new Set<number>();

  constructor(
    private readonly name: string,
    private readonly count: number,
    private readonly locks: LockManager | undefined,
  ) {}

  /** A slot, or null while all are taken; Web Locks count those of other tabs too. */
  async take(): Promise<Release | null> {
    for (let slot = 0; slot < this.count; slot++) {
      if (this.#taken.has(slot)) continue;
      this.#taken.add(slot);
      const release = await this.#lock(slot);
      if (release) return release;
      this.#taken.delete(slot);
    }
    return null;
  }

  #lock(slot: number): Promise<Release | null> {
    const { locks } = this;
    const release = () => void this.#taken.delete(slot);
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
        .catch(() => resolve(null));
    });
  }
}
