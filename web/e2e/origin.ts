import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const PIECE = Buffer.alloc(16 * 1024, "Longhaul. ");
const PIECES_A_SECOND = 4;
const FIRST_SLOW = 20_000;

/** Files whose id says how they behave. */
export const FILE = {
  /** 16 KiB, at once. */
  small: (number: number) => 10_000 + number,
  missing: 30_404,
  /** 503 for as long as the origin is ill. */
  sometimes: 40_503,
} as const;

/** Where the catalogue's files lie. */
export class Origin {
  ill = false;
  readonly #server: Server;
  #nextSlow = FIRST_SLOW;

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
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

  /** Files that take a second each, one after the other; new ones at every call. */
  lasting(seconds: number): number[] {
    return Array.from({ length: seconds }, () => this.#nextSlow++);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = Number(request.url?.slice(1));
    if (id === FILE.missing) return void response.writeHead(404).end();
    if (id === FILE.sometimes && this.ill) return void response.writeHead(503).end();
    const pieces = id >= FIRST_SLOW && id < FILE.missing ? PIECES_A_SECOND : 1;
    response.writeHead(200, {
      "Content-Length": pieces * PIECE.length,
      "Content-Type": "text/plain",
      "Content-Disposition": `attachment; filename="file-${id}.txt"`,
      ETag: `"${id}"`,
    });
    if (request.method === "HEAD") return void response.end();
    for (let piece = 0; piece < pieces && !response.destroyed; piece++) {
      response.write(PIECE);
      if (pieces > 1) await new Promise((go) => setTimeout(go, 1_000 / PIECES_A_SECOND));
    }
    response.end();
  }
}
