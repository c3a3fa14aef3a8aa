import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** What the proxy does to streams. */
export type Streams = "pass" | "cut" | "buffer" | "block";

const CUT_AFTER = 3_000;
const STREAMS = ["/v1/download/subscribe/", "/v1/admin/stream"];

/** A proxy between the browser and the API that cuts, buffers or blocks streams. */
export class FaultyProxy {
  streams: Streams = "pass";
  /** Every request to the API with its time (ms). */
  readonly log: { at: number; method: string; path: string }[] = [];
  readonly #streams = new Set<ServerResponse>();
  readonly #server: Server;

  private constructor(private readonly upstream: URL) {
    this.#server = createServer((request, response) => this.#forward(request, response));
  }

  static async start(upstream: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(new URL(upstream));
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

  /** Close all open streams, as a lost network connection does. */
  dropStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** Return the requests for a job since `since` (ms). */
  about(jobId: string, since = 0): { at: number; path: string }[] {
    return this.log.filter(({ at, path }) => at >= since && path.includes(jobId));
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "/";
    if (path.startsWith("/v1/"))
      this.log.push({ at: Date.now(), method: `${request.method}`, path });
    const isStream = STREAMS.some((start) => path.startsWith(start));
    if (isStream && this.streams === "block") return void response.writeHead(502).end();
    const upstreamRequest = forward(
      {
        host: this.upstream.hostname,
        port: this.upstream.port,
        path,
        method: request.method,
        headers: request.headers,
      },
      (upstreamResponse) => {
        if (isStream) return this.#stream(upstreamResponse, response);
        response.writeHead(upstreamResponse.statusCode ?? 502, upstreamResponse.headers);
        upstreamResponse.pipe(response);
      },
    );
    upstreamRequest.on("error", () => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
    response.on("close", () => upstreamRequest.destroy());
    request.pipe(upstreamRequest);
  }

  #stream(upstreamResponse: IncomingMessage, response: ServerResponse): void {
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
    upstreamResponse.on("error", () => response.destroy());
    if (this.streams === "buffer") {
      const chunks: Buffer[] = [];
      upstreamResponse.on("data", (chunk: Buffer) => chunks.push(chunk));
      upstreamResponse.on("end", () => {
        response.writeHead(upstreamResponse.statusCode ?? 502, upstreamResponse.headers);
        response.end(Buffer.concat(chunks));
      });
      return;
    }
    response.writeHead(upstreamResponse.statusCode ?? 502, upstreamResponse.headers);
    upstreamResponse.pipe(response);
    if (this.streams === "cut") setTimeout(() => response.destroy(), CUT_AFTER).unref();
  }
}
