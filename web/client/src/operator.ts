import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import { type OverviewListener, OverviewWatch } from "./overview-watch.js";
import type { Slots } from "./slots.js";
import type {
  Analytics,
  AuditLogPage,
  DeadLettersPage,
  ExploredJob,
  Health,
  JobActionsRequest,
  JobActionsResult,
  JobFilter,
  ListedJobsPage,
  Overview,
  QueueStatistics,
  StatisticsSample,
} from "./types.js";

/** The API for operators. Only `statistics` and `health` are open to other users. */
export class Operator {
  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
  ) {}

  /** Get the queue statistics, the workers with their jobs, and recent failures of all users. */
  overview(signal?: AbortSignal): Promise<Overview> {
    return this.http.json("/v1/admin/overview", { ...(signal && { signal }) });
  }

  /** Watch the overview until `signal` aborts. Throws `ApiProblem` for a permanent error. */
  watch(listener: OverviewListener, signal: AbortSignal): Promise<never> {
    return new OverviewWatch(this.http, this.slots, listener).run(signal);
  }

  /** Get statistics of the last hours. Throws `ApiProblem` (404) if there is no history. */
  analytics(hours: number, signal?: AbortSignal): Promise<Analytics> {
    return this.http.json(`/v1/admin/analytics?hours=${hours}`, { ...(signal && { signal }) });
  }

  statistics(signal?: AbortSignal): Promise<QueueStatistics> {
    return this.http.json("/v1/download/queue/stats", { ...(signal && { signal }) });
  }

  /** Get the health checks, also of an unhealthy service (503). */
  async health(signal?: AbortSignal): Promise<Health> {
    const call = { ...(signal && { signal }) };
    try {
      return await this.http.json<Health>("/health", call);
    } catch (error) {
      const health = error instanceof ApiProblem ? (error.body as Partial<Health> | null) : null;
      if (health?.checks) return health as Health;
      throw error;
    }
  }

  /** Search the jobs of all users, newest first. A page may be empty although others follow. */
  jobs(
    filter: JobFilter,
    page: { cursor?: string | null; limit?: number } = {},
    signal?: AbortSignal,
  ): Promise<ListedJobsPage> {
    return this.http.json(`/v1/admin/jobs?${query({ ...filter, ...page })}`, {
      ...(signal && { signal }),
    });
  }

  /** Get everything that is known about a job, with its timeline. */
  job(jobId: string, signal?: AbortSignal): Promise<ExploredJob> {
    return this.http.json(`/v1/admin/jobs/${jobId}`, { ...(signal && { signal }) });
  }

  /**
   * Change jobs, or count them. A request tries a limited number: see `POST /v1/admin/job-actions`
   * for how to repeat it while `remaining` is not 0.
   */
  act(request: JobActionsRequest): Promise<JobActionsResult> {
    return this.http.json("/v1/admin/job-actions", { method: "POST", body: request });
  }

  /** Get what operators did, newest first. */
  auditLog(
    page: { cursor?: string | null; limit?: number } = {},
    signal?: AbortSignal,
  ): Promise<AuditLogPage> {
    return this.http.json(`/v1/admin/audit?${query(page)}`, { ...(signal && { signal }) });
  }

  /** Get the newest statistics, about one sample per minute, oldest first. */
  async samples(minutes: number, signal?: AbortSignal): Promise<StatisticsSample[]> {
    const path = `/v1/admin/statistics?minutes=${minutes}`;
    const { samples } = await this.http.json<{ samples: StatisticsSample[] }>(path, {
      ...(signal && { signal }),
    });
    return samples;
  }

  /** Get the newest dead letters, at most 100. */
  deadLetters(limit: number, signal?: AbortSignal): Promise<DeadLettersPage> {
    return this.http.json(`/v1/admin/dead-letters?limit=${limit}`, { ...(signal && { signal }) });
  }

  requeue(jobId: string): Promise<unknown> {
    return this.http.json(`/v1/admin/dead-letters/${jobId}/requeue`, { method: "POST" });
  }

  /** Stop workers from starting jobs until `resume`. Running jobs continue. */
  pause(): Promise<unknown> {
    return this.http.json("/v1/admin/queue/pause", { method: "POST" });
  }

  resume(): Promise<unknown> {
    return this.http.json("/v1/admin/queue/resume", { method: "POST" });
  }
}

function query(parameters: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
}
