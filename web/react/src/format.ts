const UNITS = ["bytes", "KB", "MB", "GB", "TB"] as const;

/** Format a size with decimal units, as operating systems and browsers do. */
export function formatBytes(bytes: number, locale?: string): string {
  const power = bytes < 1_000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1_000 ** power;
  const digits = power > 0 && value < 100 ? 1 : 0;
  const number = new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  return power === 0 && bytes === 1 ? "1 byte" : `${number} ${UNITS[power]}`;
}

/** Format a duration. It is rounded, because it is usually an estimate. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.round((seconds % 3_600) / 60);
  return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
}
