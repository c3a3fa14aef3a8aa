import { formatSeconds } from "@longhaul/react";

/** How long ago an ISO 8601 time was, for people. */
export function age(time: string | null | undefined): string {
  if (!time) return "";
  const seconds = (Date.now() - Date.parse(time)) / 1_000;
  return seconds < 5 ? "now" : `${formatSeconds(seconds)} ago`;
}
