import { notify } from "./listeners.js";
import type { RequestedFile, StartOptions } from "./types.js";

/** A download that this browser started. Its URL is not stored, because it is a credential. */
export interface StoredDownload {
  jobId: string;
  fileIds: number[];
  /** The files with their paths in the archive, if they have paths; empty if the storage was full. */
  files?: RequestedFile[];
  /**
   * The options of the start, except `callbackUrl`, which may contain a secret, and without `metadata`
   * if the storage was full.
   */
  options?: StartOptions;
  /** ISO 8601. */
  startedAt: string;
  /** The name of the first file, if it was known at the start. */
  firstFile?: string;
  /** Whether the user saved the archive. */
  saved?: boolean;
}

const MAX_ENTRIES = 50;

/** The downloads in localStorage, newest first. */
export class StoredDownloads {
  #listeners = new Set<() => void>();
  #last: readonly StoredDownload[] = [];
  #lastText: string | null = null;
  /** What the storage contained when the latest write failed; undefined if it succeeded. */
  #outdatedText: string | null | undefined;

  constructor(
    private readonly storage: Storage | undefined,
    private readonly key: string,
  ) {}

  /** Return the downloads; the same array until it changes. */
  list(): readonly StoredDownload[] {
    const text = this.#read();
    if (text !== this.#lastText) {
      this.#lastText = text;
      this.#last = entriesOf(text);
    }
    return this.#last;
  }

  /** Add a download, or replace the one with the same id. */
  add(entry: StoredDownload): void {
    const others = this.list().filter((other) => other.jobId !== entry.jobId);
    const at = others.findIndex((other) => other.startedAt <= entry.startedAt);
    const newer = at < 0 ? others : others.slice(0, at);
    this.#write([...newer, entry, ...others.slice(newer.length)]);
  }

  remove(jobId: string): void {
    this.#write(this.list().filter((entry) => entry.jobId !== jobId));
  }

  /** Call `listener` after every change, in this tab or another. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    const onStorage = (event: StorageEvent) => {
      if (event.key === this.key || event.key === null) listener();
    };
    globalThis.addEventListener?.("storage", onStorage);
    return () => {
      this.#listeners.delete(listener);
      globalThis.removeEventListener?.("storage", onStorage);
    };
  }

  /**
   * Storage may be disabled or full: then the downloads are kept until the page closes, or until
   * another tab writes, so that this tab does not overwrite what the other one stored.
   */
  #read(): string | null {
    try {
      if (!this.storage) return this.#lastText;
      const text = this.storage.getItem(this.key);
      if (text === this.#outdatedText) return this.#lastText;
      this.#outdatedText = undefined;
      return text;
    } catch {
      return this.#lastText;
    }
  }

  #write(entries: readonly StoredDownload[]): void {
    this.#last = entries.slice(0, MAX_ENTRIES);
    let detailed = this.#last.length;
    while (!this.#save(textOf(this.#last, detailed)) && detailed > 0) {
      detailed = Math.floor(detailed / 2);
    }
    notify(this.#listeners);
  }

  /** Return whether the storage had room for the text. */
  #save(text: string): boolean {
    this.#lastText = text;
    try {
      this.storage?.setItem(this.key, text);
      this.#outdatedText = undefined;
      return true;
    } catch {
      this.#outdatedText = this.#storedText();
      return false;
    }
  }

  #storedText(): string | null | undefined {
    try {
      return this.storage?.getItem(this.key);
    } catch {
      return undefined;
    }
  }
}

/** Return the text to store, with all details of the newest entries only. */
function textOf(entries: readonly StoredDownload[], detailed: number): string {
  const older = entries.slice(detailed).map(withoutDetails);
  return JSON.stringify([...entries.slice(0, detailed), ...older]);
}

/** Leave out what can be large; the API still knows the paths of a job's files. */
function withoutDetails(entry: StoredDownload): StoredDownload {
  if (!entry.files && !entry.options?.metadata) return entry;
  const { metadata: _, ...options }: StartOptions = entry.options ?? {};
  return {
    ...entry,
    ...(entry.files && { files: [] }),
    ...(entry.options && { options }),
  };
}

function entriesOf(text: string | null): StoredDownload[] {
  try {
    const entries: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(entries) ? entries.filter(isStoredDownload).slice(0, MAX_ENTRIES) : [];
  } catch {
    return [];
  }
}

function isStoredDownload(value: unknown): value is StoredDownload {
  const entry = value as Partial<StoredDownload> | null;
  return typeof entry?.jobId === "string" && Array.isArray(entry.fileIds);
}
