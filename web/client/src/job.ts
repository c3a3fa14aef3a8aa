import type { Job, JobStatus } from "./types.js";

const TERMINAL: ReadonlySet<JobStatus> = new Set(["completed", "failed", "cancelled", "expired"]);

/** Whether nothing more will happen to the job by itself. */
export function isFinished(job: Job): boolean {
  return TERMINAL.has(job.status);
}

/** The job in `value`, or null where it holds none. */
export function jobIn(value: unknown): Job | null {
  if (typeof value !== "object" || value === null) return null;
  const job = value as Partial<Job>;
  const whole = typeof job.jobId === "string" && typeof job.version === "number" && job.status;
  return whole ? (value as Job) : null;
}
