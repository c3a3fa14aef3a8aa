import { ApiProblem, Unreachable } from "./errors.js";
import { anySignal, unlessAborted } from "./timing.js";

export interface HttpOptions {
  /** The URL of the API; defaults to the origin of the page. */
  baseUrl?: string;
  /** Returns headers to send; called for every request. */
  headers?: () => HeadersInit | Promise<HeadersInit>;
  /**
   * Returns the access token to send, or null to send none. Called for every request, so keep the
   * token until it expires. If the API rejects a token, this is called again with that token, and
   * the request is repeated once if the result is another token.
   */
  getToken?: (rejected?: string) => string | null | Promise<string | null>;
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
  readonly #headers: NonNullable<HttpOptions["headers"]>;
  readonly #getToken: NonNullable<HttpOptions["getToken"]>;
  readonly #fetch: typeof fetch;

  constructor(options: HttpOptions = {}) {
    this.#base = (options.baseUrl ?? "").replace(/\/$/, "");
    this.#headers = options.headers ?? (() => ({}));
    this.#getToken = options.getToken ?? (() => null);
    this.#fetch = options.fetch ?? ((...call) => globalThis.fetch(...call));
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
  async json<T>(path: string, call: Call = {}): Promise<T> {
    const ended = new AbortController();
    const signal = call.signal ? anySignal(call.signal, ended.signal) : ended.signal;
    try {
      return await this.#exchange(path, { ...call, signal }, async (response) =>
        response.status === 304 ? null : await response.json(),
      );
    } finally {
      ended.abort();
    }
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
    const signal = call.signal ? anySignal(call.signal, timedOut.signal) : timedOut.signal;
    try {
      const response = await this.#respond(path, call, signal);
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

  /** Send the request, and once more if its token is rejected and there is another one. */
  async #respond(path: string, call: Call, signal: AbortSignal): Promise<Response> {
    const getToken = async (rejected?: string) =>
      unlessAborted(Promise.resolve(this.#getToken(rejected)), signal);
    const fetch = async (token: string | null) =>
      unlessAborted(this.#fetch(this.#base + path, await this.#init(call, token, signal)), signal);
    const token = await getToken();
    const response = await fetch(token);
    if (response.status !== 401 || !token) return response;
    const other = await getToken(token);
    return other && other !== token ? fetch(other) : response;
  }

  async #init(call: Call, token: string | null, signal: AbortSignal): Promise<RequestInit> {
    const headers = new Headers(await unlessAborted(Promise.resolve(this.#headers()), signal));
    if (token && !headers.has("Authorization")) headers.set("Authorization", `Bearer ${token}`);
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
