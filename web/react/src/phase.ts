import { type DownloadState, isFinished } from "@longhaul/client";

/** The phase of a download from the user's point of view. */
export type Phase =
  | "idle"
  | "starting"
  | "queued"
  | "processing"
  | "ready"
  | "failed"
  | "cancelled"
  | "expired"
  | "unknown";

const PHASES = {
  queued: "queued",
  processing: "processing",
  completed: "ready",
  failed: "failed",
  cancelled: "cancelled",
  expired: "expired",
} as const;

/** Return the phase; `now` is in milliseconds since 1970. */
export function phaseOf({ job, problem }: DownloadState, now = Date.now()): Phase {
  if (problem && !(job && isFinished(job))) return "unknown";
  if (!job) return "starting";
  if (job.status === "completed" && expiryOf(job) <= now) return "expired";
  return PHASES[job.status];
}

/** Return when the archive is deleted, in milliseconds since 1970; Infinity if unknown. */
export function expiryOf(job: DownloadState["job"]): number {
  return job?.availableUntil ? Date.parse(job.availableUntil) : Number.POSITIVE_INFINITY;
}

/** Return whether the download is not finished yet. */
export function isInProgress(phase: Phase): boolean {
  return phase === "starting" || phase === "queued" || phase === "processing";
}
