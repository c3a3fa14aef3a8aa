import { formatSeconds } from "@longhaul/react";

/** Format how long ago an ISO 8601 time was. */
export function timeAgo(time: string | null | undefined): string {
  if (!time) return "";
  const seconds = (Date.now() - Date.parse(time)) / 1_000;
  return seconds < 5 ? "now" : `${formatSeconds(seconds)} ago`;
}

/** Format a time of today, or else with its date; with `seconds` as exactly as timelines need. */
export function clockTime(at: number, seconds = false): string {
  const date = new Date(at);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(undefined, {
    ...(isToday ? {} : { day: "numeric", month: "short" }),
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
  });
}

/** Return the user's name; empty for anonymous users. */
export function userName(userId: string): string {
  return userId === "anonymous" ? "" : userId;
}
