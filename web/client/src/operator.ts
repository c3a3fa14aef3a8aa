import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import { type OverviewListener, OverviewWatch } from "./overview-watch.js";
import type { Slots } from "./slots.js";
import type { Analytics, DeadLettersPage, Health, Overview, QueueStatistics } from "./types.js";

/** What operators see and do. All but the queue's figures and the health is for them alone. */
export class Operator {
  constructor(
    private readonly http: Http,
    private readonly slots: Slots,
  ) {}

  /** The queue's figures, the workers with their jobs, the newest failures of all users. */
  overview(signal?: AbortSignal): Promise<Overview> {
    return this.http.json("/v1/admin/overview", { ...(signal && { signal }) });
  }

  /** The same, live, until `signal` ends it. Throws `ApiProblem` when the API refuses for good. */
  watch(listener: OverviewListener, signal: AbortSignal): Promise<never> {
    return new OverviewWatch(this.http, this.slots, listener).run(signal);
  }

  /** What happened in each of the last hours. Throws `ApiProblem` (404) where nothing is kept. */
  analytics(hours: number, signal?: AbortSignal): Promise<Analytics> {
    return this.http.json(`/v1/admin/analytics?hours=${hours}`, { ...(signal && { signal }) });
  }

  statistics(signal?: AbortSignal): Promise<QueueStatistics> {
    return this.http.json("/v1/download/queue/stats", { ...(signal && { signal }) });
  }

  /** Also where the service says that it is unhealthy (503). */
  async health(signal?: AbortSignal): Promise<Health> {
    const call = { ...(signal && { signal }) };
    try {
      return await this.http.json<Health>("/health", call);
    } catch (error) {
      const said = error instanceof ApiProblem ? (error.body as Partial<Health> | null) : null;
      if (said?.checks) return said as Health;
      throw error;
    }
  }

  /** The newest `limit` of them, at most 100. */
  deadLetters(limit: number, signal?: AbortSignal): Promise<DeadLettersPage> {
    return this.http.json(`/v1/admin/dead-letters?limit=${limit}`, { ...(signal && { signal }) });
  }

  requeue(jobId: string): Promise<unknown> {
    return this.http.json(`/v1/admin/dead-letters/${jobId}/requeue`, { method: "POST" });
  }

  /** No worker takes a new job until `resume`; those that run go on. */
  pause(): Promise<unknown> {
    return this.http.json("/v1/admin/queue/pause", { method: "POST" });
  }

  resume(): Promise<unknown> {
    return this.http.json("/v1/admin/queue/resume", { method: "POST" });
  }
}
