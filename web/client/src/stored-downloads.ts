import { notify } from "./listeners.js";
import type { RequestedFile, StartOptions } from "./types.js";

/** A download that this browser started. Its URL is not stored, because it is a credential. */
export interface StoredDownload {
  jobId: string;
  fileIds: number[];
  /** The files with their paths in the archive, if they have paths. */
  files?: RequestedFile[];
  /** The options of the start, except `callbackUrl`, which may contain a secret. */
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
  /** Whether the storage lacks `#last`, because the latest write failed. */
  #isUnsaved = false;

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

  /** Storage may be disabled or full: then the downloads are kept until the page closes. */
  #read(): string | null {
    try {
      return this.storage && !this.#isUnsaved ? this.storage.getItem(this.key) : this.#lastText;
    } catch {
      return this.#lastText;
    }
  }

  #write(entries: readonly StoredDownload[]): void {
    this.#last = entries.slice(0, MAX_ENTRIES);
    this.#lastText = JSON.stringify(this.#last);
    try {
      this.storage?.setItem(this.key, this.#lastText);
      this.#isUnsaved = false;
    } catch {
      this.#isUnsaved = true;
    }
    notify(this.#listeners);
  }
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
