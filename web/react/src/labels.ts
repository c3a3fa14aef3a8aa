import { formatSeconds } from "./format.js";
import type { DownloadView } from "./use-download.js";

/** The texts of the button; override them for another language. */
export interface Labels {
  download: string;
  ready: string;
  again: string;
  cancel: string;
  progress: string;
  status(view: DownloadView): string;
}

export const ENGLISH: Labels = {
  download: "Download",
  ready: "Save file",
  again: "Try again",
  cancel: "Cancel",
  progress: "Preparing your download",
  status: statusInEnglish,
};

function statusInEnglish({ phase, job, problem, pending }: DownloadView): string {
  if (pending === "cancel") return "Cancelling";
  switch (phase) {
    case "idle":
      return "";
    case "starting":
      return "Starting";
    case "queued":
      return job?.retryAt ? "Something went wrong. Trying again" : queued(job?.queuePosition);
    case "processing":
      return preparing(job?.progress ?? 0, job?.estimatedSecondsRemaining ?? null);
    case "ready":
      return "Ready";
    case "failed":
      return job?.error ?? "The download failed";
    case "cancelled":
      return "Cancelled";
    case "expired":
      return "No longer available";
    case "unknown":
      return problem?.message ?? "Download not found";
  }
}

function queued(position: number | null | undefined): string {
  return position ? `Queued, position ${position}` : "Queued, starting soon";
}

function preparing(progress: number, seconds: number | null): string {
  const left = seconds === null ? "" : `, about ${formatSeconds(seconds)} left`;
  return `Preparing ${progress}%${left}`;
}
