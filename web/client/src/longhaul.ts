import { Download, type DownloadTools } from "./download.js";
import { ApiProblem, Unreachable } from "./errors.js";
import { Http, type HttpOptions } from "./http.js";
import { jobIn } from "./job.js";
import { Operator } from "./operator.js";
import { Slots } from "./slots.js";
import { type StoredDownload, StoredDownloads } from "./stored-downloads.js";
import { Tabs } from "./tabs.js";
import { backoff, pause } from "./timing.js";
import type { CheckedFile, Job, JobsPage, RequestedFile, StartOptions } from "./types.js";

export interface LonghaulOptions extends HttpOptions {
  /** Where downloads are remembered: their ids, files and options; defaults to localStorage. */
  storage?: Storage;
  /** Maximum number of open streams and long polls in all tabs. */
  connections?: number;
  /** Separates the memory of several users of one browser, for example the user's id. */
  namespace?: string;
  /** Milliseconds between two polls when neither streams nor long polls work; 2,500 by default. */
  pollInterval?: number;
}

let defaults: LonghaulOptions = {};

/** Set options for all clients that are created later, such as the default one of the hooks. */
export function configure(options: LonghaulOptions): void {
  defaults = { ...defaults, ...options };
}

const NAME = "longhaul";
const CONNECTIONS = 4;
/** Maximum attempts to create a job; all have the same idempotency key. */
const MAX_ATTEMPTS = 4;
const MAX_RETRY_DELAY = 5_000;
const MAX_DOWNLOADS = 100;

/** The Longhaul API, for browsers and other programs with fetch. A page needs only one. */
export class Longhaul {
  readonly operator: Operator;
  readonly #stored: StoredDownloads;
  readonly #tools: DownloadTools;
  readonly #downloads = new Map<string, Download>();
  /** The latest start whose outcome is unknown. */
  #unresolved: { text: string; key: string } | null = null;

  constructor(ownOptions: LonghaulOptions = {}) {
    const options = { ...defaults, ...ownOptions };
    const http = new Http(options);
    const isPage = typeof window !== "undefined";
    const locks = isPage ? globalThis.navigator?.locks : undefined;
    const name = NAME + http.base;
    const owner = [http.base, options.namespace].filter(Boolean).map((part) => `:${part}`);
    const slots = new Slots(name, options.connections ?? CONNECTIONS, locks);
    this.operator = new Operator(http, slots);
    this.#stored = new StoredDownloads(
      options.storage ?? (isPage ? pageStorage() : undefined),
      [`${NAME}:downloads`, ...owner].join(""),
    );
    this.#tools = {
      http,
      slots,
      tabs: new Tabs([NAME, ...owner].join(""), locks, globalThis.BroadcastChannel),
      pollInterval: options.pollInterval,
    };
    if (isPage) window.addEventListener("online", () => this.retryNow());
  }

  /**
   * Start a download of the files as one archive, in folders if they have paths. A request without a response is repeated with the
   * same idempotency key, also by the next call for the same download, so that no second job is
   * created. `firstFile` is the name of the first file, if you know it, to show in lists.
   */
  async start(
    files: readonly RequestedFile[],
    options: StartOptions = {},
    firstFile?: string,
  ): Promise<Download> {
    const entries = files.map((file) => (typeof file === "number" ? { file_id: file } : file));
    const fileIds = entries.map((entry) => entry.file_id);
    const flat = files.every((file) => typeof file === "number");
    const requested = flat ? { file_ids: fileIds } : { files: entries };
    const job = jobIn(await this.#create({ ...requested, ...options }));
    if (!job) throw new Unreachable("The response contains no job");
    this.#stored.add({
      jobId: job.jobId,
      fileIds,
      ...(!flat && { files: entries }),
      ...storedOptions(options),
      startedAt: job.createdAt,
      ...(firstFile && { firstFile }),
    });
    // An identical request that is still running returns its job, which may be watched already.
    const download = this.open(job.jobId, job);
    download.offer(job);
    return download;
  }

  /** Create a job, or find out about the one that an earlier request may have created. */
  async #create(body: object): Promise<unknown> {
    const text = JSON.stringify(body);
    const key = this.#unresolved?.text === text ? this.#unresolved.key : randomKey();
    const headers = { "Idempotency-Key": key };
    const call = { method: "POST", body, headers } as const;
    this.#unresolved = { text, key };
    try {
      const created = await withRetries(() => this.#tools.http.json("/v1/download/initiate", call));
      this.#unresolved = null;
      return created;
    } catch (error) {
      if (error instanceof ApiProblem && error.status < 500) this.#unresolved = null;
      throw error;
    }
  }

  /** Return a page of the user's jobs, newest first, from all browsers and programs. */
  jobs(cursor?: string | null, signal?: AbortSignal): Promise<JobsPage> {
    const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
    return this.#tools.http.json(`/v1/download/jobs${query}`, { ...(signal && { signal }) });
  }

  /**
   * Return the download with this id; always the same object for the same id. `job` is its state, if
   * you know it.
   */
  open(jobId: string, job: Job | null = null): Download {
    const existing = this.#downloads.get(jobId);
    if (existing) return existing;
    this.#prune();
    const fileIds = this.downloads().find((entry) => entry.jobId === jobId)?.fileIds ?? [];
    const download = new Download(this.#tools, jobId, fileIds, job);
    this.#downloads.set(jobId, download);
    return download;
  }

  /** Return the downloads that this browser started, newest first; the same array until it changes. */
  downloads(): readonly StoredDownload[] {
    return this.#stored.list();
  }

  /** Call `listener` when `downloads()` changes, in this tab or another. */
  onDownloadsChange = (listener: () => void): (() => void) => this.#stored.subscribe(listener);

  /** Remember that the user saved the archive. */
  markSaved(jobId: string, saved = true): void {
    const entry = this.downloads().find((entry) => entry.jobId === jobId);
    if (entry && (entry.saved ?? false) !== saved) this.#stored.add({ ...entry, saved });
  }

  /** Undo `remove`. */
  restore(entry: StoredDownload): void {
    this.#stored.add(entry);
  }

  /** Remove a download from `downloads()`. This does not cancel it. */
  remove(jobId: string): void {
    this.#stored.remove(jobId);
  }

  /** Check whether a file exists, and get its size. */
  check(fileId: number, signal?: AbortSignal): Promise<CheckedFile> {
    return this.#tools.http.json("/v1/download/check", {
      method: "POST",
      body: { file_id: fileId },
      ...(signal && { signal }),
    });
  }

  /** Skip the pauses between retries of all downloads, for example when the network is back. */
  retryNow(): void {
    for (const download of this.#downloads.values()) download.retryNow();
  }

  #prune(): void {
    for (const [jobId, download] of this.#downloads) {
      if (this.#downloads.size < MAX_DOWNLOADS) return;
      if (!download.isWatched) this.#downloads.delete(jobId);
    }
  }
}

/** Return what the list keeps of the options, so that the same download can be started again. */
function storedOptions({ callbackUrl: _, ...options }: StartOptions): { options?: StartOptions } {
  return Object.keys(options).length ? { options } : {};
}

async function withRetries<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const wait = retryDelay(error, attempt);
      if (wait === null || attempt === MAX_ATTEMPTS) throw error;
      await pause(wait, new AbortController().signal);
    }
  }
}

/** Return the milliseconds to wait before a retry, or null if there should be none. */
function retryDelay(error: unknown, attempt: number): number | null {
  const wait = backoff(attempt, 1_000, MAX_RETRY_DELAY);
  if (error instanceof Unreachable) return wait;
  if (!(error instanceof ApiProblem) || error.status < 502) return null;
  const requested = error.retryAfter ?? wait;
  return requested > MAX_RETRY_DELAY ? null : Math.max(requested, wait);
}

/** Return a random key; `randomUUID` is missing on pages served over plain HTTP. */
function randomKey(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** Return localStorage, or undefined if the browser does not allow it. */
function pageStorage(): Storage | undefined {
  try {
    return window.localStorage;
  } catch {
    return undefined;
  }
}
