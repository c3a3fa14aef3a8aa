/** A download that this browser started. No link is kept: links are credentials. */
export interface Remembered {
  jobId: string;
  fileIds: number[];
  /** ISO 8601. */
  startedAt: string;
}

const KEY = "longhaul:downloads";
const AT_MOST = 50;

/** What survives a reload: the ids of the downloads, newest first, in localStorage. */
export class Memory {
  #listeners = new Set<() => void>();
  #last: readonly Remembered[] = [];
  #lastText: string | null = null;

  constructor(
    private readonly storage: Storage | undefined,
    private readonly key = KEY,
  ) {}

  /** The same array as long as nothing changed. */
  list(): readonly Remembered[] {
    const text = this.#read();
    if (text !== this.#lastText) {
      this.#lastText = text;
      this.#last = entriesOf(text);
    }
    return this.#last;
  }

  add(entry: Remembered): void {
    this.#write([entry, ...this.list().filter((known) => known.jobId !== entry.jobId)]);
  }

  remove(jobId: string): void {
    this.#write(this.list().filter((known) => known.jobId !== jobId));
  }

  /** Calls `listener` after every change, those of other tabs included. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    const heard = (event: StorageEvent) => {
      if (event.key === this.key || event.key === null) listener();
    };
    globalThis.addEventListener?.("storage", heard);
    return () => {
      this.#listeners.delete(listener);
      globalThis.removeEventListener?.("storage", heard);
    };
  }

  /** Storage may be forbidden or full: then the page remembers for as long as it is open. */
  #read(): string | null {
    try {
      return this.storage ? this.storage.getItem(this.key) : this.#lastText;
    } catch {
      return this.#lastText;
    }
  }

  #write(entries: readonly Remembered[]): void {
    this.#last = entries.slice(0, AT_MOST);
    this.#lastText = JSON.stringify(this.#last);
    try {
      this.storage?.setItem(this.key, this.#lastText);
    } catch {
      // As above.
    }
    for (const listener of this.#listeners) listener();
  }
}

function entriesOf(text: string | null): Remembered[] {
  try {
    const entries: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(entries) ? entries.filter(isRemembered).slice(0, AT_MOST) : [];
  } catch {
    return [];
  }
}

function isRemembered(value: unknown): value is Remembered {
  const entry = value as Partial<Remembered> | null;
  return typeof entry?.jobId === "string" && Array.isArray(entry.fileIds);
}
