import { ApiProblem, JobUnsuccessful, Unreachable } from "./errors.js";
import { ExpiryCheck } from "./expiry-check.js";
import type { Http } from "./http.js";
import { expiryOf, isFinished, jobIn } from "./job.js";
import { notify } from "./listeners.js";
import type { Slots } from "./slots.js";
import type { Tabs, TabUpdate } from "./tabs.js";
import { status } from "./transports.js";
import type { FileReport, FilesPage, Job, Result } from "./types.js";
import { type Connection, Watch } from "./watch.js";

/** The state of a download. Immutable: every change creates a new object. */
export interface DownloadState {
  /** Null until the first response. */
  readonly job: Job | null;
  readonly connection: Connection;
  /** Why watching ended, such as a job that does not exist or belongs to another user. */
  readonly problem: Error | null;
}

export interface DownloadTools {
  http: Http;
  slots: Slots;
  tabs: Tabs;
  pollInterval: number | undefined;
}

/** Milliseconds to keep a watch without listeners, for example while a page renders again. */
const KEEP_WATCH = 1_000;
const FILES_PER_PAGE = 100;
const MAX_FILES = 1_000;

/** A download: its state, updated while there are listeners, and the actions on it. */
export class Download {
  readonly jobId: string;
  readonly fileIds: readonly number[];
  readonly #tools: DownloadTools;
  readonly #listeners = new Set<() => void>();
  #state: DownloadState;
  #watch: Watch | null = null;
  #watchAbort: AbortController | null = null;
  /** A watch ends with the job, so it does not learn that the archive has expired. */
  readonly #expiryCheck = new ExpiryCheck(() => this.refresh());

  constructor(tools: DownloadTools, jobId: string, fileIds: readonly number[], job: Job | null) {
    this.#tools = tools;
    this.jobId = jobId;
    this.fileIds = fileIds;
    const finished = job !== null && isFinished(job);
    this.#state = { job, connection: finished ? "closed" : "connecting", problem: null };
  }

  get state(): DownloadState {
    return this.#state;
  }

  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  /** Call `listener` after every change of `state`. Returns a function that unsubscribes. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#startWatch();
    this.#scheduleExpiryCheck();
    return () => {
      this.#listeners.delete(listener);
      setTimeout(() => this.#stopWatchIfUnused(), KEEP_WATCH);
    };
  };

  /** Wait for the completed job. Throws `JobUnsuccessful` when the job ends otherwise. */
  finished(): Promise<Job> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const { job, problem } = this.#state;
        if (problem) settle(() => reject(problem));
        else if (job?.status === "completed") settle(() => resolve(job));
        else if (job && isFinished(job)) settle(() => reject(new JobUnsuccessful(job)));
      };
      const settle = (action: () => void) => {
        unsubscribe?.();
        action();
      };
      const unsubscribe = this.subscribe(() => check());
      check();
    });
  }

  /** Cancel the job, if it is not finished; `state` shows it within about a second. */
  async cancel(): Promise<void> {
    const cancelled = await this.#act(`/v1/download/cancel/${this.jobId}`, isFinished);
    if (cancelled && !this.#watchAbort) await this.refresh();
  }

  /** Run a failed job again, or a completed one whose archive lacks files. */
  async retry(): Promise<void> {
    const known = this.#state.job;
    const hasChanged = ({ version }: Job) => known !== null && version !== known.version;
    const job = jobIn(await this.#act(`/v1/download/${this.jobId}/retry`, hasChanged));
    if (job) this.offer(job);
  }

  /**
   * Send the request of an action. If the API rejects it because of the job's state, the known state
   * may be outdated: get the current one, and return null if that makes the action `needless`.
   */
  async #act(path: string, needless: (job: Job) => boolean): Promise<unknown> {
    try {
      return await this.#tools.http.json(path, { method: "POST" });
    } catch (error) {
      if (!(error instanceof ApiProblem) || ![404, 409, 410].includes(error.status)) throw error;
      await this.refresh();
      if (!this.#state.job || !needless(this.#state.job)) throw error;
      return null;
    }
  }

  /** Get a newly signed URL of the archive; `state.job` gets it too. */
  async link(): Promise<Result> {
    const result = await this.#tools.http.json<Result>(`/v1/download/${this.jobId}`);
    const { downloadUrl, expiresAt } = result;
    const { job } = this.#state;
    if (job) this.#update({ job: { ...job, downloadUrl, expiresAt } });
    return result;
  }

  /** Forget the URL of the archive, for example after the storage rejected it. */
  dropLink(): void {
    const { job } = this.#state;
    if (job) this.#update({ job: { ...job, downloadUrl: null, expiresAt: null } });
  }

  /** Get a page of the job's files, in the order of the request. */
  files(cursor: string | null = null, limit = FILES_PER_PAGE): Promise<FilesPage> {
    const query = `?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;
    return this.#tools.http.json(`/v1/download/status/${this.jobId}/files${query}`);
  }

  /** Get all files of the job; a job has at most 1,000. */
  async allFiles(): Promise<FileReport[]> {
    const files: FileReport[] = [];
    let cursor: string | null = null;
    do {
      const page: FilesPage = await this.files(cursor);
      files.push(...page.files);
      cursor = page.nextCursor;
    } while (cursor && files.length < MAX_FILES);
    return files;
  }

  /**
   * Get the current state once, and start to watch again if watching had ended. If the API does not
   * know the job any more, that is the `problem`.
   */
  async refresh(): Promise<void> {
    try {
      const job = await status(this.#tools.http, this.jobId, 0, 0, new AbortController().signal);
      if (!job) throw new Unreachable("The response contains no job");
      // The same version has a newly signed URL.
      if (isFinished(job) && job.version === this.#state.job?.version) this.#update({ job });
      if (this.#state.problem) this.#update({ problem: null });
      this.offer(job);
    } catch (error) {
      const isGone = error instanceof ApiProblem && error.isPermanent && error.status === 404;
      // A watch that runs finds out itself.
      if (isGone && !this.#watchAbort) this.#update({ problem: error });
      throw error;
    }
  }

  /** Show the job if it is newer than the known one, and watch it again if watching had ended. */
  offer(job: Job): void {
    this.#showIfNews(job);
    if (this.#listeners.size) this.#startWatch();
  }

  /** Skip the current pause between retries, for example when the network is back. */
  retryNow(): void {
    this.#watch?.retryNow();
  }

  #startWatch(): void {
    const { job } = this.#state;
    if (this.#watchAbort || (job && isFinished(job))) return;
    const watching = new AbortController();
    this.#watchAbort = watching;
    this.#update({ connection: "connecting", problem: null });
    const onEnd = (problem: Error | null) => {
      if (this.#watchAbort !== watching) return;
      this.#watchAbort = null;
      this.#update({ connection: "closed", problem });
    };
    this.#follow(watching.signal).then(() => onEnd(null), onEnd);
  }

  #stopWatchIfUnused(): void {
    this.#scheduleExpiryCheck();
    if (this.#listeners.size || !this.#watchAbort) return;
    const watching = this.#watchAbort;
    this.#watchAbort = null;
    watching.abort();
    this.#update({ connection: "closed" });
  }

  #scheduleExpiryCheck(): void {
    const { job, problem } = this.#state;
    const isOpen = this.#listeners.size > 0 && !problem;
    this.#expiryCheck.schedule(isOpen ? expiryOf(job) : Number.POSITIVE_INFINITY);
  }

  #follow(signal: AbortSignal): Promise<void> {
    return this.#tools.tabs.follow(
      {
        jobId: this.jobId,
        lead: (until) => this.#lead(until),
        onUpdate: (update) => this.#receive(update),
        currentUpdate: () => this.#tabUpdate(),
      },
      signal,
    );
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { http, slots, pollInterval } = this.#tools;
    const listener = {
      onJob: (job: Job) => this.#showIfNews(job),
      onConnection: (connection: Connection) => this.#update({ connection }),
    };
    const version = this.#state.job?.version;
    this.#watch = new Watch(http, slots, this.jobId, listener, version, pollInterval);
    try {
      await this.#watch.run(signal);
    } finally {
      this.#watch = null;
    }
  }

  #receive({ job, connection }: TabUpdate): void {
    this.#update({ connection });
    if (job) this.#showIfNews(job);
    if (this.#state.job && isFinished(this.#state.job)) this.#finish();
  }

  /** End the watch: another tab received the final state. */
  #finish(): void {
    this.#watchAbort?.abort();
    this.#watchAbort = null;
    this.#update({ connection: "closed" });
  }

  #tabUpdate(): TabUpdate {
    const { job, connection } = this.#state;
    return { jobId: this.jobId, job, connection };
  }

  #showIfNews(job: Job): void {
    // As in `Watch`: a job store that was restored may end the job with an older version.
    const known = this.#state.job;
    const ends = known && isFinished(job) && !isFinished(known);
    if (ends || job.version > (known?.version ?? 0)) this.#update({ job });
  }

  #update(change: Partial<DownloadState>): void {
    this.#state = { ...this.#state, ...change };
    this.#tools.tabs.publish(this.#tabUpdate());
    this.#scheduleExpiryCheck();
    notify(this.#listeners);
  }
}
