import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to streams on their way. */
export type Streams = "pass" | "cut" | "buffer" | "block";

const CUT_AFTER = 3_000;
const STREAMS = ["/v1/download/subscribe/", "/v1/admin/stream"];

/** A proxy between the browser and the API that does to streams what bad proxies do. */
export class BadProxy {
  streams: Streams = "pass";
  /** Every request for the API, by when it came (ms). */
  readonly log: { at: number; method: string; path: string }[] = [];
  readonly #streams = new Set<ServerResponse>();
  readonly #server: Server;

  private constructor(private readonly upstream: URL) {
    this.#server = createServer((request, response) => this.#pass(request, response));
  }

  static async start(upstream: string): Promise<BadProxy> {
    const proxy = new BadProxy(new URL(upstream));
    await new Promise<void>((ready) => proxy.#server.listen(0, "127.0.0.1", ready));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  /** Forget what was and let everything pass. */
  reset(): void {
    this.streams = "pass";
    this.log.length = 0;
  }

  /** End the streams that are open, as a network that goes away does. */
  dropStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Requests about one job since `since` (ms). */
  about(jobId: string, since = 0): { at: number; path: string }[] {
    return this.log.filter(({ at, path }) => at >= since && path.includes(jobId));
  }

  #pass(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "/";
    if (path.startsWith("/v1/"))
      this.log.push({ at: Date.now(), method: `${request.method}`, path });
    const isStream = STREAMS.some((start) => path.startsWith(start));
    if (isStream && this.streams === "block") return void response.writeHead(502).end();
    const onward = forward(
      {
        host: this.upstream.hostname,
        port: this.upstream.port,
        path,
        method: request.method,
        headers: request.headers,
      },
      (answer) => {
        if (isStream) return this.#stream(answer, response);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on("error", () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  }

  #stream(answer: IncomingMessage, response: ServerResponse): void {
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
    answer.on("error", () => response.destroy());
    if (this.streams === "buffer") {
      const pieces: Buffer[] = [];
      answer.on("data", (piece: Buffer) => pieces.push(piece));
      answer.on("end", () => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.end(Buffer.concat(pieces));
      });
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
    if (this.streams === "cut") setTimeout(() => response.destroy(), CUT_AFTER).unref();
  }
}
