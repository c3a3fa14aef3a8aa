import { ApiProblem } from "./errors.js";
import type { Http } from "./http.js";
import type { DeadLettersPage, Health, JobStatus, JobsPage, QueueStatistics } from "./types.js";

/** What operators see and do. The dead letters and the queue's switch need the admin scope. */
export class Operator {
  constructor(private readonly http: Http) {}

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

  /** The caller's jobs, newest first. */
  jobs(status: JobStatus | null = null, signal?: AbortSignal): Promise<JobsPage> {
    const query = status ? `?status=${status}` : "";
    return this.http.json(`/v1/download/jobs${query}`, { ...(signal && { signal }) });
  }

  deadLetters(signal?: AbortSignal): Promise<DeadLettersPage> {
    return this.http.json("/v1/admin/dead-letters", { ...(signal && { signal }) });
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
