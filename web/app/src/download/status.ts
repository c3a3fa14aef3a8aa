import type { Job } from "@longhaul/client";
import { type DownloadView, english, formatSeconds, isInProgress } from "@longhaul/react";
import { useEffect, useState } from "react";
import { formatCount, formatSize, formatTime, LOCALE } from "../ui/format.js";
import { showIds } from "./parse-ids.js";
import type { Entry } from "./title.js";

export const LABELS = english(LOCALE);

/** Errors of a source that may be gone at the next attempt. */
const SOURCE_ERRORS: readonly (string | null)[] = [
  "TEMPORARY_UNAVAILABLE",
  "NETWORK_ERROR",
  "RATE_LIMIT",
  "DOWNLOAD_TIMEOUT",
];

/** Return the state of the download in words; while a retry waits, with a countdown. */
export function useStatus(view: DownloadView): string {
  const { phase, job } = view;
  const seconds = useSecondsUntil(phase === "queued" ? (job?.retryAt ?? null) : null);
  if (job && seconds !== null && view.pending !== "cancel") return retryStatus(job, seconds);
  return [LABELS.status(view), LABELS.availability(view)].filter(Boolean).join(" · ");
}

function retryStatus(job: Job, seconds: number): string {
  const file = failingFile(job);
  const what = file !== null ? `File ${file} can't be fetched right now` : "Something went wrong";
  const when = seconds > 0 ? `next try in ${formatSeconds(seconds)}` : "trying again now";
  // Without an error, the job waits for a service, which uses no attempt.
  const attempt = job.error ? `attempt ${job.attempt} of ${job.maxAttempts}` : null;
  return [what, attempt, when].filter(Boolean).join(", ");
}

/** Return the id of the file whose source is failing, or null. */
export function failingFile({ error, errorCode }: Job): number | null {
  const id = /^File (\d+)\b/.exec(error ?? "")?.[1];
  return id && SOURCE_ERRORS.includes(errorCode) ? Number(id) : null;
}

/** Return the seconds until a time, counted down; null without a time. */
function useSecondsUntil(iso: string | null): number | null {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!iso) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [iso]);
  return iso ? Math.max(0, Math.ceil((Date.parse(iso) - now) / 1_000)) : null;
}

/** Return the second line of a card: what the download contains, and how far it is. */
export function subtitleOf({ phase, job }: DownloadView, entry: Entry): string {
  const total = job?.totalFiles ?? entry.fileIds.length;
  const parts = [formatCount(total, "file", "files")];
  if (entry.fileIds.length) parts.push(showIds(entry.fileIds));
  if (phase === "processing" && job?.totalBytes) {
    parts.push(`${formatSize(job.processedBytes ?? 0)} of ${formatSize(job.totalBytes)}`);
  }
  if (phase === "ready" && job?.fileSize != null) parts.push(formatSize(job.fileSize));
  if (!isInProgress(phase)) parts.push(formatTime(entry.startedAt));
  if (entry.saved) parts.push("Saved");
  return parts.join(" · ");
}
