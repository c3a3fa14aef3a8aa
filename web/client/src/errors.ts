import { jobIn } from "./job.js";
import type { Job, Problem } from "./types.js";

/** Statuses that say: no access, or no such job or endpoint. */
const PERMANENT = [401, 403, 404, 405];

/** An error response: problem details (RFC 9457), or derived from another kind of response. */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly status: number;
  /** Stable, for programs, such as `TOO_MANY_ACTIVE_JOBS`. */
  readonly code: string;
  readonly retryable: boolean;
  /**
   * Whether to stop requesting the same: the API says that there is no access, no such job or no
   * such endpoint. A response of something before the API, such as an ingress, is never permanent.
   */
  readonly isPermanent: boolean;
  /** `Retry-After` in milliseconds, or null. */
  readonly retryAfter: number | null;
  readonly requestId: string | null;
  /** Messages by field, for an invalid request. */
  readonly errors: Record<string, string[]>;
  /** The body of the response if it was JSON, else null. */
  readonly body: unknown;
  /** The job, if its state is the reason. */
  readonly job: Job | null;

  constructor(response: Response, body: unknown) {
    const problem = (typeof body === "object" && body ? body : {}) as Partial<Problem>;
    const detail = problem.detail || problem.title;
    const fields = Object.entries(problem.errors ?? {}).map(
      ([name, messages]) => `${name}: ${messages.join(" ")}`,
    );
    super([detail || `The server responded with status ${response.status}`, ...fields].join(" "));
    this.status = response.status;
    const code = typeof problem.code === "string" ? problem.code : null;
    this.code = code ?? `HTTP_${response.status}`;
    this.retryable = problem.retryable ?? (response.status === 429 || response.status >= 500);
    this.isPermanent = code !== null && PERMANENT.includes(response.status);
    this.retryAfter = retryAfterOf(response);
    this.requestId = problem.requestId ?? response.headers.get("X-Request-ID");
    this.errors = problem.errors ?? {};
    this.body = body;
    this.job = jobIn(body) ?? jobIn((body as { job?: unknown } | null)?.job);
  }
}

/** There was no response: no network, no server, or a timeout. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/** The job ended without an archive. */
export class JobUnsuccessful extends Error {
  override readonly name = "JobUnsuccessful";

  constructor(readonly job: Job) {
    super(job.error ?? `The download was ${job.status}`);
  }
}

/** Return `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3), in milliseconds from now. */
function retryAfterOf(response: Response): number | null {
  const value = response.headers.get("Retry-After");
  if (!value) return null;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : null;
}
