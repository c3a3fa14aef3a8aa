import { ApiProblem, Unreachable, Unsuccessful } from "./errors.js";
import type { Http } from "./http.js";
import { isFinished, jobIn } from "./job.js";
import type { Slots } from "./slots.js";
import type { News, Tabs } from "./tabs.js";
import { status } from "./transports.js";
import type { FilesPage, Job, Result } from "./types.js";
import { type Connection, Watch } from "./watch.js";

/** What is known of a download at one moment; replaced, never changed. */
export interface DownloadState {
  /** Null until the first answer. */
  readonly job: Job | null;
  readonly connection: Connection;
  /** Why nothing more is heard: an unknown job, or one of somebody else. */
  readonly problem: Error | null;
}

export interface DownloadTools {
  http: Http;
  slots: Slots;
  tabs: Tabs;
}

/** Milliseconds that a watch outlives its last listener: a page that renders anew keeps it. */
const LINGER = 1_000;

/** One download: what is known of it, live for as long as somebody listens, and what can be done. */
export class Download {
  readonly jobId: string;
  readonly fileIds: readonly number[];
  readonly #tools: DownloadTools;
  readonly #listeners = new Set<() => void>();
  #state: DownloadState;
  #watch: Watch | null = null;
  #watching: AbortController | null = null;

  constructor(tools: DownloadTools, jobId: string, fileIds: readonly number[], job: Job | null) {
    this.#tools = tools;
    this.jobId = jobId;
    this.fileIds = fileIds;
    const over = job !== null && isFinished(job);
    this.#state = { job, connection: over ? "closed" : "connecting", problem: null };
  }

  get state(): DownloadState {
    return this.#state;
  }

  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  /** Calls `listener` after every change of `state`, and keeps watching until it is taken away. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#begin();
    return () => {
      this.#listeners.delete(listener);
      setTimeout(() => this.#endWhenUnheard(), LINGER);
    };
  };

  /** The completed job; throws `Unsuccessful` when it ends otherwise. */
  finished(): Promise<Job> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { job, problem } = this.#state;
        if (problem) settle(() => reject(problem));
        else if (job?.status === "completed") settle(() => resolve(job));
        else if (job && isFinished(job)) settle(() => reject(new Unsuccessful(job)));
      };
      const settle = (how: () => void) => {
        leave?.();
        how();
      };
      const leave = this.subscribe(() => look());
      look();
    });
  }

  /** Ask for the end of the job; its state follows within about a second. */
  async cancel(): Promise<void> {
    try {
      await this.#tools.http.json(`/v1/download/cancel/${this.jobId}`, { method: "POST" });
      if (!this.#watching) await this.refresh();
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.status !== 409) throw error;
      await this.refresh();
    }
  }

  /** Run a failed job again. */
  async retry(): Promise<void> {
    const path = `/v1/download/${this.jobId}/retry`;
    const job = jobIn(await this.#tools.http.json(path, { method: "POST" }));
    if (job) this.#offer(job);
    if (this.#listeners.size) this.#begin();
  }

  /** A freshly signed link to the archive; also in `state.job`. */
  async link(): Promise<Result> {
    const result = await this.#tools.http.json<Result>(`/v1/download/${this.jobId}`);
    const { downloadUrl, expiresAt } = result;
    const { job } = this.#state;
    if (job) this.#update({ job: { ...job, downloadUrl, expiresAt } });
    return result;
  }

  /** A page of the job's files, in the order of the request. */
  files(cursor?: string | null): Promise<FilesPage> {
    const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
    return this.#tools.http.json(`/v1/download/status/${this.jobId}/files${query}`);
  }

  /** Ask once for the newest state, and watch again if that had ended. */
  async refresh(): Promise<void> {
    const job = await status(this.#tools.http, this.jobId, 0, 0, new AbortController().signal);
    if (!job) throw new Unreachable("The answer holds no job");
    this.#offer(job);
    if (this.#listeners.size) this.#begin();
  }

  /** The network may be back: try again at once. */
  nudge(): void {
    this.#watch?.nudge();
  }

  #begin(): void {
    const { job } = this.#state;
    if (this.#watching || (job && isFinished(job))) return;
    const watching = new AbortController();
    this.#watching = watching;
    this.#update({ connection: "connecting", problem: null });
    const over = (problem: Error | null) => {
      if (this.#watching !== watching) return;
      this.#watching = null;
      this.#update({ connection: "closed", problem });
    };
    this.#follow(watching.signal).then(() => over(null), over);
  }

  #endWhenUnheard(): void {
    if (this.#listeners.size || !this.#watching) return;
    const watching = this.#watching;
    this.#watching = null;
    watching.abort();
    this.#update({ connection: "closed" });
  }

  #follow(signal: AbortSignal): Promise<void> {
    return this.#tools.tabs.follow(
      {
        jobId: this.jobId,
        lead: (until) => this.#lead(until),
        onNews: (news) => this.#hear(news),
        news: () => this.#news(),
      },
      signal,
    );
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { http, slots } = this.#tools;
    const listener = {
      onJob: (job: Job) => this.#offer(job),
      onConnection: (connection: Connection) => this.#update({ connection }),
    };
    this.#watch = new Watch(http, slots, this.jobId, listener, this.#state.job?.version);
    try {
      await this.#watch.run(signal);
    } finally {
      this.#watch = null;
    }
  }

  #hear({ job, connection }: News): void {
    this.#update({ connection });
    if (job) this.#offer(job);
    if (this.#state.job && isFinished(this.#state.job)) this.#finish();
  }

  /** Another tab brought the end. */
  #finish(): void {
    this.#watching?.abort();
    this.#watching = null;
    this.#update({ connection: "closed" });
  }

  #news(): News {
    const { job, connection } = this.#state;
    return { jobId: this.jobId, job, connection };
  }

  #offer(job: Job): void {
    if (job.version > (this.#state.job?.version ?? 0)) this.#update({ job });
  }

  #update(change: Partial<DownloadState>): void {
    this.#state = { ...this.#state, ...change };
    this.#tools.tabs.publish(this.#news());
    for (const listener of this.#listeners) listener();
  }
}
