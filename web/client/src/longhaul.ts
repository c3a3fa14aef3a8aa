import { Download, type DownloadTools } from "./download.js";
import { ApiProblem, Unreachable } from "./errors.js";
import { Http, type HttpOptions } from "./http.js";
import { jobIn } from "./job.js";
import { Memory, type Remembered } from "./memory.js";
import { Operator } from "./operator.js";
import { Slots } from "./slots.js";
import { Tabs } from "./tabs.js";
import { backoff, pause } from "./timing.js";
import type { CheckedFile, StartOptions } from "./types.js";

export interface LonghaulOptions extends HttpOptions {
  /** What is kept over a reload; by default localStorage where there is one. */
  storage?: Storage;
  /** Streams and long polls that may be open at once, all tabs together. */
  connections?: number;
}

const NAME = "longhaul";
const CONNECTIONS = 4;
/** Tries of a call that starts a job; all carry the same idempotency key. */
const TRIES = 4;
const PATIENCE = 5_000;
const KEPT = 100;

/** The API of Longhaul for a browser, or any program with fetch. One for a page is enough. */
export class Longhaul {
  readonly operator: Operator;
  readonly #memory: Memory;
  readonly #tools: DownloadTools;
  readonly #downloads = new Map<string, Download>();

  constructor(options: LonghaulOptions = {}) {
    const http = new Http(options);
    const locks = globalThis.navigator?.locks;
    const name = NAME + http.base;
    const isPage = typeof window !== "undefined";
    const slots = new Slots(name, options.connections ?? CONNECTIONS, isPage ? locks : undefined);
    this.operator = new Operator(http, slots);
    this.#memory = new Memory(options.storage ?? (isPage ? pageStorage() : undefined));
    this.#tools = {
      http,
      slots,
      tabs: new Tabs(name, isPage ? locks : undefined, globalThis.BroadcastChannel),
    };
    if (isPage) window.addEventListener("online", () => this.nudge());
  }

  /**
   * Ask for the files in one archive. An answer that is lost on the way is asked for again with the
   * same idempotency key, so that there is never a second job.
   */
  async start(fileIds: readonly number[], options: StartOptions = {}): Promise<Download> {
    const key = randomKey();
    const call = {
      method: "POST",
      body: { file_ids: fileIds, ...options },
      headers: { "Idempotency-Key": key },
    } as const;
    const answer = await insistently(() => this.#tools.http.json("/v1/download/initiate", call));
    const job = jobIn(answer);
    if (!job) throw new Unreachable("The answer holds no job");
    this.#memory.add({ jobId: job.jobId, fileIds: [...fileIds], startedAt: job.createdAt });
    const download = new Download(this.#tools, job.jobId, [...fileIds], job);
    this.#downloads.set(job.jobId, download);
    return download;
  }

  /** The download with this id: one object for each, however often it is asked for. */
  open(jobId: string): Download {
    const known = this.#downloads.get(jobId);
    if (known) return known;
    this.#prune();
    const fileIds = this.remembered().find((entry) => entry.jobId === jobId)?.fileIds ?? [];
    const download = new Download(this.#tools, jobId, fileIds, null);
    this.#downloads.set(jobId, download);
    return download;
  }

  /** The downloads that this browser started, newest first. The same array until it changes. */
  remembered(): readonly Remembered[] {
    return this.#memory.list();
  }

  /** Calls `listener` when `remembered` changes, in this tab or another. */
  onRemembered = (listener: () => void): (() => void) => this.#memory.subscribe(listener);

  /** Remember a download no more. It goes on; `cancel` ends it. */
  forget(jobId: string): void {
    this.#memory.remove(jobId);
    this.#downloads.delete(jobId);
  }

  /** Whether a file of the catalogue can be had, and how large it is. */
  check(fileId: number, signal?: AbortSignal): Promise<CheckedFile> {
    return this.#tools.http.json("/v1/download/check", {
      method: "POST",
      body: { file_id: fileId },
      ...(signal && { signal }),
    });
  }

  /** The network may be back: every watch tries again at once. */
  nudge(): void {
    for (const download of this.#downloads.values()) download.nudge();
  }

  #prune(): void {
    for (const [jobId, download] of this.#downloads) {
      if (this.#downloads.size < KEPT) return;
      if (!download.isWatched) this.#downloads.delete(jobId);
    }
  }
}

async function insistently<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await call();
    } catch (error) {
      const wait = soon(error, tries);
      if (wait === null || tries === TRIES) throw error;
      await pause(wait, new AbortController().signal);
    }
  }
}

/** Milliseconds until the call may be tried again, or null when its user should decide that. */
function soon(error: unknown, tries: number): number | null {
  const wait = backoff(tries, 1_000, PATIENCE);
  if (error instanceof Unreachable) return wait;
  if (!(error instanceof ApiProblem) || error.status < 502) return null;
  const asked = error.retryAfter ?? wait;
  return asked > PATIENCE ? null : Math.max(asked, wait);
}

/** A UUID; `randomUUID` is missing where the page came over plain HTTP. */
function randomKey(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** Reading `localStorage` throws where the user forbids it. */
function pageStorage(): Storage | undefined {
  try {
    return window.localStorage;
  } catch {
    return undefined;
  }
}
