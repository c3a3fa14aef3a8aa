import { ApiProblem, Unreachable } from "./errors.js";
import { unlessAborted } from "./timing.js";

export interface HttpOptions {
  /** Where the API is; by default where the page came from. */
  baseUrl?: string;
  /** Headers of every request, such as Authorization; asked anew each time. */
  headers?: () => HeadersInit;
  fetch?: typeof fetch;
}

export interface Call {
  method?: "GET" | "POST" | "DELETE";
  body?: unknown;
  headers?: HeadersInit;
  signal?: AbortSignal;
  /** Milliseconds that the answer may take: its headers for `send`, all of it for `json`. */
  timeout?: number;
}

const TIMEOUT = 10_000;

/** Calls to the API: a good answer, or `ApiProblem`, or `Unreachable`. */
export class Http {
  readonly #base: string;
  readonly #headers: () => HeadersInit;
  readonly #fetch: typeof fetch;

  constructor({ baseUrl = "", headers = () => ({}), fetch: own }: HttpOptions = {}) {
    this.#base = baseUrl.replace(/\/$/, "");
    this.#headers = headers;
    this.#fetch = own ?? ((...call) => globalThis.fetch(...call));
  }

  /** Names the API among others of the same page. */
  get base(): string {
    return this.#base;
  }

  /** The answer as soon as its headers are there. */
  send(path: string, call: Call = {}): Promise<Response> {
    return this.#exchange(path, call, async (response) => response);
  }

  /** The answer's body; null where nothing has changed (304). */
  json<T>(path: string, call: Call = {}): Promise<T> {
    return this.#exchange(path, call, async (response) =>
      response.status === 304 ? null : await response.json(),
    );
  }

  async #exchange<T>(
    path: string,
    call: Call,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new Unreachable("The server took too long to answer")),
      call.timeout ?? TIMEOUT,
    );
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal;
    try {
      const request = this.#fetch(this.#base + path, this.#init(call, signal));
      const response = await unlessAborted(request, signal);
      if (response.ok || response.status === 304) {
        return await unlessAborted(read(response), signal);
      }
      const problem = unlessAborted(response.json(), signal).catch(() => null);
      throw new ApiProblem(response, await problem);
    } catch (error) {
      if (error instanceof ApiProblem) throw error;
      signal.throwIfAborted();
      throw new Unreachable("The server cannot be reached", { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  #init(call: Call, signal: AbortSignal): RequestInit {
    const headers = new Headers(this.#headers());
    for (const [name, value] of new Headers(call.headers)) headers.set(name, value);
    if (!headers.has("Accept")) headers.set("Accept", "application/json");
    const init: RequestInit = { method: call.method ?? "GET", headers, signal, cache: "no-store" };
    if (call.body !== undefined) {
      headers.set("Content-Type", "application/json");
      init.body = JSON.stringify(call.body);
    }
    return init;
  }
}
