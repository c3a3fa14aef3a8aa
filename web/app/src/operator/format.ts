import { formatSeconds } from "@longhaul/react";

/** Format how long ago an ISO 8601 time was. */
export function timeAgo(time: string | null | undefined): string {
  if (!time) return "";
  const seconds = (Date.now() - Date.parse(time)) / 1_000;
  return seconds < 5 ? "now" : `${formatSeconds(seconds)} ago`;
}

/** Return the user's name; empty for anonymous users. */
export function userName(userId: string): string {
  return userId === "anonymous" ? "" : userId;
}
