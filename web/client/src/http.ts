import { ApiProblem, Unreachable } from "./errors.js";
import { unlessAborted } from "./timing.js";

export interface HttpOptions {
  /** The URL of the API; defaults to the origin of the page. */
  baseUrl?: string;
  /** Returns headers such as Authorization; called for every request. */
  headers?: () => HeadersInit;
  fetch?: typeof fetch;
}

export interface Call {
  method?: "GET" | "POST" | "DELETE";
  body?: unknown;
  headers?: HeadersInit;
  signal?: AbortSignal;
  /** Milliseconds until the headers of the response for `send`, until its end for `json`. */
  timeout?: number;
}

const TIMEOUT = 10_000;

/** Sends requests to the API. Throws `ApiProblem` or `Unreachable`. */
export class Http {
  readonly #base: string;
  readonly #headers: () => HeadersInit;
  readonly #fetch: typeof fetch;

  constructor({ baseUrl = "", headers = () => ({}), fetch: customFetch }: HttpOptions = {}) {
    this.#base = baseUrl.replace(/\/$/, "");
    this.#headers = headers;
    this.#fetch = customFetch ?? ((...call) => globalThis.fetch(...call));
  }

  /** The URL of the API; distinguishes several APIs on a page. */
  get base(): string {
    return this.#base;
  }

  /** Return the response as soon as its headers have arrived. */
  send(path: string, call: Call = {}): Promise<Response> {
    return this.#exchange(path, call, async (response) => response);
  }

  /** Return the JSON body; null if nothing has changed (304). */
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
    const timedOut = new AbortController();
    const timer = setTimeout(
      () => timedOut.abort(new Unreachable("The server took too long to respond")),
      call.timeout ?? TIMEOUT,
    );
    const signal = call.signal ? AbortSignal.any([call.signal, timedOut.signal]) : timedOut.signal;
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
      throw new Unreachable("Can't reach the server", { cause: error });
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
