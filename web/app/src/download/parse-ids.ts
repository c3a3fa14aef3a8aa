export const MOST_FILES = 1_000;
const HIGHEST_ID = 100_000_000;

export interface Parsed {
  ids: number[];
  /** Null where all of the text was understood. */
  mistake: string | null;
}

/** File ids out of what people type: `10001, 10003-10006 10010`. Ranges count both ends. */
export function parseIds(text: string): Parsed {
  const ids = new Set<number>();
  const words = text.replace(/\s*(?:-|–|\.\.)\s*/g, "-").split(/[\s,;]+/);
  for (const word of words.filter(Boolean)) {
    const range = rangeOf(word);
    if (typeof range === "string") return { ids: [...ids], mistake: range };
    for (let id = range.first; id <= range.last; id++) ids.add(id);
    if (ids.size > MOST_FILES) return { ids: [], mistake: tooMany() };
  }
  return { ids: [...ids], mistake: null };
}

export function tooMany(): string {
  return `One archive holds up to ${MOST_FILES.toLocaleString("en")} files`;
}

function rangeOf(word: string): { first: number; last: number } | string {
  const match = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(word);
  if (!match) return `“${word}” is not a number or a range such as 10001-10005`;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < 1 || last > HIGHEST_ID) return `“${word}” is outside 1 to 100,000,000`;
  if (last < first) return `“${word}” runs backwards`;
  return last - first < MOST_FILES ? { first, last } : tooMany();
}

/** Ids for people: `10001–10003, 10007`, cut off after `most` parts. */
export function showIds(ids: readonly number[], most = 4): string {
  const parts: string[] = [];
  const sorted = ids.toSorted((a, b) => a - b);
  for (let at = 0; at < sorted.length; ) {
    let end = at;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++;
    const dash = end > at + 1 ? "–" : ", ";
    parts.push(end > at ? `${sorted[at]}${dash}${sorted[end]}` : `${sorted[at]}`);
    at = end + 1;
  }
  return parts.length > most ? `${parts.slice(0, most).join(", ")} …` : parts.join(", ");
}
