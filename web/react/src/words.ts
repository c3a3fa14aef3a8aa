import { formatSeconds } from "./format.js";
import type { DownloadView } from "./use-download.js";

/** Every text of the button; give your own for another language. */
export interface Words {
  download: string;
  ready: string;
  again: string;
  cancel: string;
  progress: string;
  status(view: DownloadView): string;
}

export const ENGLISH: Words = {
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
      return job?.retryAt ? "Something went wrong; trying again" : waiting(job?.queuePosition);
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
      return problem?.message ?? "This download is not known any more";
  }
}

function waiting(position: number | null | undefined): string {
  return position ? `Waiting, number ${position} in the queue` : "Waiting for a free place";
}

function preparing(progress: number, seconds: number | null): string {
  const left = seconds === null ? "" : `, about ${formatSeconds(seconds)} left`;
  return `Preparing ${progress} %${left}`;
}
