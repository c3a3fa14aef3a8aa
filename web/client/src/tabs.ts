import { pause } from "./timing.js";
import type { Job } from "./types.js";
import type { Connection } from "./watch.js";

/** What the tab that watches a job tells the others. */
export interface News {
  jobId: string;
  job: Job | null;
  connection: Connection;
}

export interface Follower {
  jobId: string;
  /** Watch the job for all tabs, until it is finished or the signal comes. */
  lead(signal: AbortSignal): Promise<void>;
  /** What the leading tab says. */
  onNews(news: News): void;
  /** What the leading tab tells the others. */
  news(): News;
}

type Message = { news: News } | { ask: string };

/** Milliseconds between two signs of life of the leading tab. */
const PULSE = 10_000;
/** Milliseconds of silence after which a visible tab takes the lead. */
const SILENT = 25_000;
const LISTEN_EVERY = 5_000;

/**
 * Lets all tabs of a page share one watch of each job. The tab that holds the job's Web Lock leads
 * and tells the others over a BroadcastChannel. When it closes, the browser passes the lock on; when
 * it is frozen, a visible tab steals it. Without Web Locks every tab watches for itself.
 */
export class Tabs {
  readonly #followers = new Map<string, Follower>();
  readonly #heardAt = new Map<string, number>();
  readonly #leading = new Set<string>();
  #channel: BroadcastChannel | null = null;

  constructor(
    private readonly name: string,
    private readonly locks: LockManager | undefined,
    private readonly Channel: typeof BroadcastChannel | undefined,
  ) {}

  /** Follow the job, by leading or by listening, until it is finished or the signal comes. */
  async follow(follower: Follower, signal: AbortSignal): Promise<void> {
    if (!this.locks || !this.Channel) return follower.lead(signal);
    const { jobId } = follower;
    this.#channel ??= this.#open(this.Channel);
    this.#followers.set(jobId, follower);
    this.#heardAt.set(jobId, Date.now());
    this.#say({ ask: jobId });
    const left = new AbortController();
    const stop = AbortSignal.any([signal, left.signal]);
    try {
      await Promise.race([
        this.#queue(this.locks, follower, stop),
        this.#rescue(this.locks, follower, stop),
      ]);
    } finally {
      left.abort();
      this.#followers.delete(jobId);
      this.#heardAt.delete(jobId);
      this.#closeWhenUnused();
    }
  }

  /** Tell the other tabs, if this one leads. */
  publish(news: News): void {
    if (!this.#leading.has(news.jobId)) return;
    this.#heardAt.set(news.jobId, Date.now());
    this.#say({ news });
  }

  async #queue(locks: LockManager, follower: Follower, signal: AbortSignal): Promise<void> {
    while (!(await this.#lead(locks, follower, { signal }, signal)));
  }

  async #rescue(locks: LockManager, follower: Follower, signal: AbortSignal): Promise<void> {
    do await this.#silence(follower.jobId, signal);
    while (!(await this.#lead(locks, follower, { steal: true }, signal)));
  }

  /** True when the job is finished, false when another tab stole the lock. */
  async #lead(
    locks: LockManager,
    follower: Follower,
    options: LockOptions,
    signal: AbortSignal,
  ): Promise<boolean> {
    const lost = new AbortController();
    const lead = () => this.#asLeader(follower, AbortSignal.any([signal, lost.signal]));
    try {
      await locks.request(`${this.name}:watch:${follower.jobId}`, options, lead);
      return true;
    } catch (reason) {
      lost.abort();
      signal.throwIfAborted();
      if (reason instanceof DOMException && reason.name === "AbortError") return false;
      throw reason;
    }
  }

  async #asLeader(follower: Follower, signal: AbortSignal): Promise<void> {
    this.#leading.add(follower.jobId);
    const pulse = setInterval(() => this.publish(follower.news()), PULSE);
    try {
      await follower.lead(signal);
    } finally {
      clearInterval(pulse);
      this.#leading.delete(follower.jobId);
    }
  }

  async #silence(jobId: string, signal: AbortSignal): Promise<void> {
    const silent = () => Date.now() - (this.#heardAt.get(jobId) ?? 0) > SILENT;
    const hidden = () => globalThis.document?.visibilityState === "hidden";
    do await pause(LISTEN_EVERY, signal);
    while (!silent() || hidden());
  }

  #open(Channel: typeof BroadcastChannel): BroadcastChannel {
    const channel = new Channel(this.name);
    channel.onmessage = (event: MessageEvent<Message>) => this.#hear(event.data);
    return channel;
  }

  #hear(message: Message): void {
    if ("news" in message) {
      this.#heardAt.set(message.news.jobId, Date.now());
      this.#followers.get(message.news.jobId)?.onNews(message.news);
      return;
    }
    const follower = this.#followers.get(message.ask);
    if (follower) this.publish(follower.news());
  }

  #say(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #closeWhenUnused(): void {
    if (this.#followers.size) return;
    this.#channel?.close();
    this.#channel = null;
  }
}
