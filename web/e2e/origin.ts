import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const SMALL_CHUNK = Buffer.alloc(16 * 1024, "Longhaul. ");
/** Four make a file of 2.25 MiB. Workers read ahead files up to 2 MiB, several at a time. */
const SLOW_CHUNK = Buffer.alloc(576 * 1024, "Longhaul. ");
const CHUNKS_PER_SECOND = 4;
const FIRST_SLOW = 20_000;
/** What a held file sends every 250 ms: more than the minimum rate of sources, for two minutes. */
const HELD_PART = 1_024;

/** File ids; the id decides how the origin responds. */
export const FILE = {
  /** 16 KiB, without delay. */
  small: (number: number) => 10_000 + number,
  missing: 30_404,
  /** 503 while `failing` is true. */
  flaky: 40_503,
  /** 404 while `late` is true. */
  late: 30_405,
  /** A small file whose name is `NAMES[number]`. */
  named: (number: number) => FIRST_NAMED + number,
} as const;

const FIRST_NAMED = 50_000;

/** Names of files as people have them. */
export const NAMES = [
  "Quartalsbericht_Vertriebsgesellschaft_Süddeutschland_2026-Q1_final_überarbeitet.xlsx",
  "التقرير السنوي للمبيعات والمشتريات لعام ألفين وستة وعشرين النسخة النهائية.pdf",
  "二〇二六年度第一四半期売上報告書（営業本部・東日本支社・最終版・承認済み）.pdf",
  `${"Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnung".repeat(3)}.pdf`,
  // Pretends to end with .txt: the override reverses what follows.
  "invoice\u202Etxt.exe",
  "Invoices March 2026.pdf",
  "Floor plan, 2nd floor.pdf",
  "Team photo.jpg",
  "Budget 2026.xlsx",
] as const;

/** The first of the names in pictures of the documentation. */
export const FIRST_PLAIN_NAME = 5;

/** The HTTP server from which the system reads files. */
export class Origin {
  failing = false;
  late = false;
  readonly #server: Server;
  /** Files that do not end before `release`. */
  readonly #held = new Set<number>();
  #nextSlow = FIRST_SLOW;

  private constructor() {
    this.#server = createServer((request, response) => void this.#respond(request, response));
  }

  static async start(): Promise<Origin> {
    const origin = new Origin();
    await new Promise<void>((ready) => origin.#server.listen(0, "127.0.0.1", ready));
    return origin;
  }

  get template(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/{file_id}`;
  }

  /** Return ids of files that take a second each; new ones at every call. */
  slowFiles(seconds: number): number[] {
    return Array.from({ length: seconds }, () => this.#nextSlow++);
  }

  /**
   * Return ids as `slowFiles` does. The last file ends only after `release`, so the job is running
   * until then, however fast or slow the computer is.
   */
  heldFiles(seconds: number): number[] {
    const ids = this.slowFiles(seconds);
    this.#held.add(ids.at(-1) as number);
    return ids;
  }

  /** Let all held files end. */
  release(): void {
    this.#held.clear();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = Number(request.url?.slice(1));
    if (id === FILE.missing) return void response.writeHead(404).end();
    if (id === FILE.flaky && this.failing) return void response.writeHead(503).end();
    if (id === FILE.late && this.late) return void response.writeHead(404).end();
    const chunk = isSlow(id) ? SLOW_CHUNK : SMALL_CHUNK;
    const chunks = isSlow(id) ? CHUNKS_PER_SECOND : 1;
    response.writeHead(200, {
      "Content-Length": chunks * chunk.length,
      "Content-Type": "text/plain",
      "Content-Disposition": dispositionOf(id),
      ETag: `"${id}"`,
    });
    if (request.method === "HEAD") return void response.end();
    for (let sent = 0; sent < chunks && !response.destroyed; sent++) {
      const begun = sent === chunks - 1 ? await this.#hold(id, chunk, response) : 0;
      response.write(chunk.subarray(begun));
      if (isSlow(id)) await pause(1_000 / CHUNKS_PER_SECOND);
    }
    response.end();
  }

  /** Send the chunk in small parts while the file is held; return how many bytes were sent. */
  async #hold(id: number, chunk: Buffer, response: ServerResponse): Promise<number> {
    let sent = 0;
    for (; this.#held.has(id) && sent < chunk.length && !response.destroyed; sent += HELD_PART) {
      response.write(chunk.subarray(sent, sent + HELD_PART));
      await pause(250);
    }
    return sent;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, ms));
}

/** Return the header with the file's name (RFC 6266). */
function dispositionOf(id: number): string {
  const name = NAMES[id - FIRST_NAMED] ?? (isSlow(id) ? `recording-${id}.mov` : `file-${id}.txt`);
  return `attachment; filename*=UTF-8''${encodeURIComponent(name)}`;
}

function isSlow(id: number): boolean {
  return id >= FIRST_SLOW && id < FILE.missing;
}
