import { formatNumber } from "../ui/format.js";

export const MAX_FILES = 1_000;

export interface Parsed {
  ids: number[];
  /** Null if the whole text is valid. */
  error: string | null;
}

/** Parse file ids from input such as `10001, 10003-10006 10010`. Ranges include both ends. */
export function parseIds(text: string): Parsed {
  const ids = new Set<number>();
  const words = text
    .normalize("NFKC")
    .replace(/\s*(?:-|–|—|~|〜|\.\.+)\s*/g, "-")
    .split(/[\s,;、]+/);
  for (const word of words.filter(Boolean)) {
    const range = rangeOf(word);
    if (typeof range === "string") return { ids: [...ids], error: range };
    for (let id = range.first; id <= range.last; id++) ids.add(id);
    if (ids.size > MAX_FILES) return { ids: [], error: tooMany() };
  }
  return { ids: [...ids], error: null };
}

export function tooMany(): string {
  return `An archive can contain up to ${formatNumber(MAX_FILES)} files. Remove some first.`;
}

/** Add the ids in a text to `ids`, without duplicates. */
export function addIds(ids: readonly number[], text: string): Parsed {
  const parsed = parseIds(text);
  const all = [...new Set([...ids, ...parsed.ids])];
  return { ids: all, error: parsed.error ?? (all.length > MAX_FILES ? tooMany() : null) };
}

function rangeOf(word: string): { first: number; last: number } | string {
  const match = /^(\d+)(?:-(\d+))?$/.exec(word);
  if (!match) return `“${word}” is not a file number or a range such as 10001-10005.`;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  // The API's settings decide which of the other numbers are valid.
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last)) return `“${word}” is too large.`;
  if (last < first) return `“${word}” ends before it starts.`;
  return last - first < MAX_FILES ? { first, last } : tooMany();
}

/** Format ids, such as `10001–10003, 10007`, cut off after `maxParts` parts. */
export function showIds(ids: readonly number[], maxParts = 4): string {
  const parts: string[] = [];
  const sorted = [...ids].sort((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++;
    const dash = end > at + 1 ? "–" : ", ";
    parts.push(end > at ? `${sorted[at]}${dash}${sorted[end]}` : `${sorted[at]}`);
    at = end + 1;
  }
  return parts.length > maxParts ? `${parts.slice(0, maxParts).join(", ")} …` : parts.join(", ");
}
