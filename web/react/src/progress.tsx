import type { CSSProperties } from "react";
import type { Phase } from "./phase.js";

export interface ProgressProps {
  /** 0 to 100, or null while nothing is known yet. */
  value: number | null;
  label: string;
  /** What a screen reader says instead of the number. */
  text?: string;
  phase?: Phase;
}

/** A progress bar; without a value it says only that something is going on. */
export function Progress({ value, label, text, phase }: ProgressProps) {
  const known = value === null ? {} : { "aria-valuenow": value };
  return (
    <div
      className="lh-progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuetext={text}
      data-phase={phase}
      data-unknown={value === null || undefined}
      {...known}
    >
      <div className="lh-progress-bar" style={barStyle(value)} />
    </div>
  );
}

function barStyle(value: number | null): CSSProperties {
  return { "--lh-value": (value ?? 0) / 100 } as CSSProperties;
}

/** What is said aloud: every change of phase, and progress by quarters, not every per cent. */
export function Announcement({ phase, progress, text }: AnnouncementProps) {
  const quarter = Math.floor(progress / 25) * 25;
  const said = phase === "processing" && quarter > 0 ? `${quarter} %` : text;
  return (
    <span className="lh-hidden" role="status" aria-live="polite">
      {phase === "processing" && quarter === 0 ? "Preparing" : said}
    </span>
  );
}

export interface AnnouncementProps {
  phase: Phase;
  progress: number;
  text: string;
}
