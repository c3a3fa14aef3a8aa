import { formatBytes, formatMoment } from "@longhaul/react";

/** The language of numbers, sizes and times: that of the texts, in the user's variant of it. */
const LANGUAGE = globalThis.navigator?.language ?? "en";
export const LOCALE = LANGUAGE.startsWith("en") ? LANGUAGE : "en";

export function formatNumber(value: number): string {
  return value.toLocaleString(LOCALE);
}

export function formatSize(bytes: number): string {
  return formatBytes(bytes, LOCALE);
}

/** Format when something happened, such as "14:30" or "3 Dec, 14:30". */
export function formatTime(iso: string): string {
  const { time, day } = formatMoment(iso, LOCALE);
  return day ? `${day}, ${time}` : time;
}

export function formatCount(count: number, one: string, many: string): string {
  return count === 1 ? `1 ${one}` : `${formatNumber(count)} ${many}`;
}
