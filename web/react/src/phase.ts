import type { DownloadState } from "@longhaul/client";

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

/** Return the phase. An archive is expired when the API says so: the device's clock may be wrong. */
export function phaseOf({ job, problem }: DownloadState): Phase {
  if (problem) return "unknown";
  return job ? PHASES[job.status] : "starting";
}

/** Return whether the download is not finished yet. */
export function isInProgress(phase: Phase): boolean {
  return phase === "starting" || phase === "queued" || phase === "processing";
}
