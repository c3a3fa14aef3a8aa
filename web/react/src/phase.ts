import type { DownloadState } from "@longhaul/client";

/** What a download looks like to its user. */
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

export function phaseOf({ job, problem }: DownloadState): Phase {
  if (problem && !job) return "unknown";
  return job ? PHASES[job.status] : "starting";
}

/** Whether the job may still change by itself. */
export function isUnderWay(phase: Phase): boolean {
  return phase === "starting" || phase === "queued" || phase === "processing";
}
