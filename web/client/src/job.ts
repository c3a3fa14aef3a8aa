import type { Job, JobStatus } from "./types.js";

const TERMINAL: ReadonlySet<JobStatus> = new Set(["completed", "failed", "cancelled", "expired"]);

/** Return whether the job is in a final state. */
export function isFinished(job: Job): boolean {
  return TERMINAL.has(job.status);
}

/** Return when the archive expires, in milliseconds since 1970; Infinity if unknown. */
export function expiryOf(job: Job | null): number {
  if (job?.status !== "completed" || !job.availableUntil) return Number.POSITIVE_INFINITY;
  return Date.parse(job.availableUntil);
}

/** Return `value` if it is a job, else null. */
export function jobIn(value: unknown): Job | null {
  if (typeof value !== "object" || value === null) return null;
  const job = value as Partial<Job>;
  const isJob = typeof job.jobId === "string" && typeof job.version === "number" && job.status;
  return isJob ? (value as Job) : null;
}
