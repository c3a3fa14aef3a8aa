import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import { type OverviewListener, OverviewWatch } from "./overview-watch.js";
import type { Slots } from "./slots.js";
import type { Analytics, DeadLettersPage, Health, Overview, QueueStatistics } from "./types.js";

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
