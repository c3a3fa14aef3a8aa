import { Download, type DownloadTools } from "./download.js";
import { ApiProblem, Unreachable } from "./errors.js";
import { Http, type HttpOptions } from "./http.js";
import { jobIn } from "./job.js";
import { Operator } from "./operator.js";
import { Slots } from "./slots.js";
import { type StoredDownload, StoredDownloads } from "./stored-downloads.js";
import { Tabs } from "./tabs.js";
import { backoff, pause } from "./timing.js";
import type { CheckedFile, StartOptions } from "./types.js";

export interface LonghaulOptions extends HttpOptions {
  /** Where the ids of downloads are stored; defaults to localStorage. */
  storage?: Storage;
  /** Maximum number of open streams and long polls in all tabs. */
  connections?: number;
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

  constructor(options: LonghaulOptions = {}) {
    const http = new Http(options);
    const locks = globalThis.navigator?.locks;
    const name = NAME + http.base;
    const isPage = typeof window !== "undefined";
    const slots = new Slots(name, options.connections ?? CONNECTIONS, isPage ? locks : undefined);
    this.operator = new Operator(http, slots);
    this.#stored = new StoredDownloads(options.storage ?? (isPage ? pageStorage() : undefined));
    this.#tools = {
      http,
      slots,
      tabs: new Tabs(name, isPage ? locks : undefined, globalThis.BroadcastChannel),
    };
    if (isPage) window.addEventListener("online", () => this.retryNow());
  }

  /**
   * Start a download of the files as one archive. A request without a response is repeated with the
   * same idempotency key, so that no second job is created.
   */
  async start(fileIds: readonly number[], options: StartOptions = {}): Promise<Download> {
    const key = randomKey();
    const call = {
      method: "POST",
      body: { file_ids: fileIds, ...options },
      headers: { "Idempotency-Key": key },
    } as const;
    const body = await withRetries(() => this.#tools.http.json("/v1/download/initiate", call));
    const job = jobIn(body);
    if (!job) throw new Unreachable("The response contains no job");
    this.#stored.add({ jobId: job.jobId, fileIds: [...fileIds], startedAt: job.createdAt });
    const download = new Download(this.#tools, job.jobId, [...fileIds], job);
    this.#downloads.set(job.jobId, download);
    return download;
  }

  /** Return the download with this id; always the same object for the same id. */
  open(jobId: string): Download {
    const existing = this.#downloads.get(jobId);
    if (existing) return existing;
    this.#prune();
    const fileIds = this.downloads().find((entry) => entry.jobId === jobId)?.fileIds ?? [];
    const download = new Download(this.#tools, jobId, fileIds, null);
    this.#downloads.set(jobId, download);
    return download;
  }

  /** Return the downloads that this browser started, newest first; the same array until it changes. */
  downloads(): readonly StoredDownload[] {
    return this.#stored.list();
  }

  /** Call `listener` when `downloads()` changes, in this tab or another. */
  onDownloadsChange = (listener: () => void): (() => void) => this.#stored.subscribe(listener);

  /** Remove a download from `downloads()`. This does not cancel it. */
  remove(jobId: string): void {
    this.#stored.remove(jobId);
    this.#downloads.delete(jobId);
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
