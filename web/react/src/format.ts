const UNITS = ["bytes", "KB", "MB", "GB", "TB"] as const;

/** Format a size with decimal units, as operating systems and browsers do. */
export function formatBytes(bytes: number, locale?: string): string {
  const power = bytes < 1_000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1_000 ** power;
  const digits = power > 0 && value < 100 ? 1 : 0;
  const number = new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  if (power === 0) return bytesOf(bytes, locale);
  const unit = UNITS[power] ?? "";
  return `${number} ${locale?.startsWith("fr") ? unit.replace("B", "o") : unit}`;
}

/** Format less than a kilobyte; the word is the language's own, such as "octets". */
function bytesOf(bytes: number, locale = "en"): string {
  const format = { style: "unit", unit: "byte", unitDisplay: "long" } as const;
  return new Intl.NumberFormat(locale, format).format(bytes);
}

/** Format a duration. It is rounded, because it is usually an estimate. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.round((seconds % 3_600) / 60);
  return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
}

export interface Moment {
  /** Such as "14:30". */
  time: string;
  /** Such as "tomorrow" or "3 Dec"; empty today. */
  day: string;
}

/** Format a time, ISO 8601, with the day relative to today if it is near. */
export function formatMoment(iso: string, locale?: string, now = new Date()): Moment {
  const at = new Date(iso);
  const midnight = (date: Date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  const days = Math.round((midnight(at) - midnight(now)) / 86_400_000);
  const time = at.toLocaleTimeString(locale, { timeStyle: "short" });
  if (days === 0) return { time, day: "" };
  if (Math.abs(days) === 1) {
    const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    return { time, day: relative.format(days, "day") };
  }
  return { time, day: at.toLocaleDateString(locale, { day: "numeric", month: "short" }) };
}
