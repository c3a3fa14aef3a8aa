import { anySignal, pause } from "./timing.js";
import type { Job } from "./types.js";
import type { Connection } from "./watch.js";

/** What the tab that watches a job sends to the others. */
export interface TabUpdate {
  jobId: string;
  job: Job | null;
  connection: Connection;
}

export interface Follower {
  jobId: string;
  /** Watch the job for all tabs, until it is finished or the signal aborts. */
  lead(signal: AbortSignal): Promise<void>;
  /** Called with an update from the leading tab. */
  onUpdate(update: TabUpdate): void;
  /** Returns the update that a leading tab sends. */
  currentUpdate(): TabUpdate;
}

type Message = { update: TabUpdate } | { requestUpdateOf: string };

/** Milliseconds between two messages of the leading tab, even without changes. */
const HEARTBEAT_INTERVAL = 10_000;
/** Milliseconds without a message after which a visible tab takes the lead. */
const HEARTBEAT_TIMEOUT = 25_000;
const CHECK_INTERVAL = 5_000;

/** The browser has Web Locks or the BroadcastChannel, but does not let this page use them. */
class SharingDenied extends Error {}

/**
 * Lets all tabs share one watch of each job. The tab that holds the job's Web Lock leads, and sends
 * updates to the others over a BroadcastChannel. When it closes, another tab gets the lock; when it
 * is frozen, a visible tab steals the lock. Without Web Locks every tab watches on its own, also if
 * the browser has them but denies them, as it does while site data is blocked.
 */
export class Tabs {
  readonly #followers = new Map<string, Follower>();
  readonly #receivedAt = new Map<string, number>();
  readonly #leading = new Set<string>();
  #channel: BroadcastChannel | null = null;

  constructor(
    private readonly name: string,
    private readonly locks: LockManager | undefined,
    private readonly Channel: typeof BroadcastChannel | undefined,
  ) {}

  /** Follow the job as leader or listener, until it is finished or the signal aborts. */
  async follow(follower: Follower, signal: AbortSignal): Promise<void> {
    try {
      if (this.locks && this.Channel) {
        return await this.#share(this.locks, this.Channel, follower, signal);
      }
    } catch (reason) {
      if (!(reason instanceof SharingDenied)) throw reason;
    }
    return follower.lead(signal);
  }

  async #share(
    locks: LockManager,
    Channel: typeof BroadcastChannel,
    follower: Follower,
    signal: AbortSignal,
  ): Promise<void> {
    const { jobId } = follower;
    this.#channel ??= this.#open(Channel);
    this.#followers.set(jobId, follower);
    this.#receivedAt.set(jobId, performance.now());
    this.#send({ requestUpdateOf: jobId });
    const ended = new AbortController();
    const stop = anySignal(signal, ended.signal);
    try {
      await Promise.race([
        this.#leadWhenFree(locks, follower, stop),
        this.#leadWhenSilent(locks, follower, stop),
      ]);
    } finally {
      ended.abort();
      this.#followers.delete(jobId);
      this.#receivedAt.delete(jobId);
      this.#closeWhenUnused();
    }
  }

  /** Send an update to the other tabs, if this one leads. */
  publish(update: TabUpdate): void {
    if (!this.#leading.has(update.jobId)) return;
    this.#receivedAt.set(update.jobId, performance.now());
    this.#send({ update });
  }

  async #leadWhenFree(locks: LockManager, follower: Follower, signal: AbortSignal): Promise<void> {
    while (!(await this.#lead(locks, follower, { signal }, signal)));
  }

  async #leadWhenSilent(
    locks: LockManager,
    follower: Follower,
    signal: AbortSignal,
  ): Promise<void> {
    do await this.#waitForSilence(follower.jobId, signal);
    while (!(await this.#lead(locks, follower, { steal: true }, signal)));
  }

  /**
   * Return true when the job is finished, false when another tab stole the lock. Throws
   * `SharingDenied` if the browser denies the lock.
   */
  async #lead(
    locks: LockManager,
    follower: Follower,
    options: LockOptions,
    signal: AbortSignal,
  ): Promise<boolean> {
    const stolen = new AbortController();
    let granted = false;
    const lead = () => {
      granted = true;
      return this.#asLeader(follower, anySignal(signal, stolen.signal));
    };
    try {
      await locks.request(`${this.name}:watch:${follower.jobId}`, options, lead);
      return true;
    } catch (reason) {
      signal.throwIfAborted();
      if (reason instanceof DOMException && reason.name === "AbortError") return false;
      if (!granted) throw new SharingDenied();
      throw reason;
    } finally {
      stolen.abort();
    }
  }

  async #asLeader(follower: Follower, signal: AbortSignal): Promise<void> {
    this.#leading.add(follower.jobId);
    const heartbeat = setInterval(() => this.publish(follower.currentUpdate()), HEARTBEAT_INTERVAL);
    try {
      await follower.lead(signal);
    } finally {
      clearInterval(heartbeat);
      this.#leading.delete(follower.jobId);
    }
  }

  async #waitForSilence(jobId: string, signal: AbortSignal): Promise<void> {
    const silent = () => performance.now() - (this.#receivedAt.get(jobId) ?? 0) > HEARTBEAT_TIMEOUT;
    const hidden = () => globalThis.document?.visibilityState === "hidden";
    do await pause(CHECK_INTERVAL, signal);
    while (!silent() || hidden());
  }

  #open(Channel: typeof BroadcastChannel): BroadcastChannel {
    try {
      const channel = new Channel(this.name);
      channel.onmessage = (event: MessageEvent<Message>) => this.#receive(event.data);
      return channel;
    } catch {
      throw new SharingDenied();
    }
  }

  #receive(message: Message): void {
    if ("update" in message) {
      this.#receivedAt.set(message.update.jobId, performance.now());
      this.#followers.get(message.update.jobId)?.onUpdate(message.update);
      return;
    }
    const follower = this.#followers.get(message.requestUpdateOf);
    if (follower) this.publish(follower.currentUpdate());
  }

  #send(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #closeWhenUnused(): void {
    if (this.#followers.size) return;
    this.#channel?.close();
    this.#channel = null;
  }
}
