import { ApiProblem } from "@longhaul/client";
import { formatMoment, formatSeconds, type Moment } from "./format.js";
import type { DownloadView } from "./use-download.js";

/** The texts of the button. Use a language's pack, or override single texts. */
export interface Labels {
  /** For numbers and times, such as "de" or "en-GB". */
  locale: string;
  download: string;
  ready: string;
  again: string;
  restart: string;
  cancel: string;
  progress: string;
  /** The visible state, such as "Preparing 42%, about 1 min left". */
  status(view: DownloadView): string;
  /** What screen readers announce when it changes; progress only in steps of 25%. */
  announcement(view: DownloadView): string;
  /** Until when a finished archive is available; empty if unknown. */
  availability(view: DownloadView): string;
}

/** The words of a language, of which `labelsOf` makes the labels. */
export interface Words {
  locale: string;
  download: string;
  save: string;
  again: string;
  restart: string;
  cancel: string;
  progress: string;
  cancelling: string;
  starting: string;
  retrying: string;
  queued: string;
  startingSoon: string;
  position(position: string): string;
  preparing: string;
  left(duration: string): string;
  ready: string;
  missing(missing: string, total: string): string;
  availableUntil(moment: Moment): string;
  failed: string;
  cancelled: string;
  expired: string;
  forgotten: string;
}

/** Return the English texts, with numbers and times of a variant such as "en-GB". */
export function english(locale = "en"): Labels {
  return labelsOf({ ...ENGLISH_WORDS, locale });
}

const ENGLISH_WORDS: Omit<Words, "locale"> = {
  download: "Download",
  save: "Save file",
  again: "Try again",
  restart: "Start again",
  cancel: "Cancel",
  progress: "Preparing your download",
  cancelling: "Cancelling",
  starting: "Starting",
  retrying: "Something went wrong. Trying again",
  queued: "Queued",
  startingSoon: "Queued, starting soon",
  position: (position) => `Queued, position ${position}`,
  preparing: "Preparing",
  left: (duration) => `about ${duration} left`,
  ready: "Ready",
  missing: (missing, total) => `Ready, ${missing} of ${total} files missing`,
  availableUntil: ({ time, day }) =>
    `Available until ${[time, /\d/.test(day) ? `on ${day}` : day].filter(Boolean).join(" ")}`,
  failed: "The download failed",
  cancelled: "Cancelled",
  expired: "Expired",
  forgotten: "No longer available",
};

export const ENGLISH = english();

export function labelsOf(words: Words): Labels {
  const { locale, download, again, restart, cancel, progress } = words;
  return {
    ...{ locale, download, again, restart, cancel, progress },
    ready: words.save,
    status: (view) => statusOf(view, words),
    announcement: (view) => announcementOf(view, words),
    availability: (view) => availabilityOf(view, words),
  };
}

function statusOf(view: DownloadView, words: Words): string {
  const { phase, job, problem, pending } = view;
  const number = (value: number) => value.toLocaleString(words.locale);
  if (pending === "cancel") return words.cancelling;
  switch (phase) {
    case "idle":
      return "";
    case "starting":
      return words.starting;
    case "queued":
      if (job?.retryAt) return words.retrying;
      if (!job?.queuePosition) return words.startingSoon;
      return withEstimate(words.position(number(job.queuePosition)), job, words);
    case "processing":
      return withEstimate(`${words.preparing} ${percentOf(job?.progress ?? 0, words)}`, job, words);
    case "ready": {
      const missing = job?.missingFiles ?? 0;
      return missing ? words.missing(number(missing), number(job?.totalFiles ?? 0)) : words.ready;
    }
    case "failed":
      return job?.error ?? words.failed;
    case "cancelled":
      return words.cancelled;
    case "expired":
      return words.expired;
    case "unknown":
      if (problem instanceof ApiProblem && problem.status === 404) return words.forgotten;
      return problem?.message ?? words.forgotten;
  }
}

function withEstimate(text: string, job: DownloadView["job"], words: Words): string {
  const seconds = job?.estimatedSecondsRemaining ?? null;
  return seconds === null ? text : `${text}, ${words.left(formatSeconds(seconds))}`;
}

function announcementOf(view: DownloadView, words: Words): string {
  const { phase, job, pending } = view;
  // The position in the queue changes too often.
  if (phase === "queued" && !job?.retryAt && !pending) return words.queued;
  if (phase !== "processing" || pending === "cancel") return statusOf(view, words);
  const quarter = Math.floor((job?.progress ?? 0) / 25) * 25;
  return quarter ? percentOf(quarter, words) : words.preparing;
}

function percentOf(value: number, { locale }: Words): string {
  // Not Intl's percent style, whose space before the sign differs between browsers.
  return `${value.toLocaleString(locale)}%`;
}

function availabilityOf({ phase, job }: DownloadView, words: Words): string {
  const until = phase === "ready" ? job?.availableUntil : null;
  return until ? words.availableUntil(formatMoment(until, words.locale)) : "";
}
