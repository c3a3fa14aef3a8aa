import type { CSSProperties } from "react";
import type { Phase } from "./phase.js";

export interface ProgressProps {
  /** 0 to 100, or null if unknown. */
  value: number | null;
  label: string;
  /** The text that a screen reader reads instead of the number. */
  text?: string;
  phase?: Phase;
}

/** A progress bar; indeterminate without a value. */
export function Progress({ value, label, text, phase }: ProgressProps) {
  const valueNow = value === null ? {} : { "aria-valuenow": value };
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
      {...valueNow}
    >
      <div className="lh-progress-bar" style={barStyle(value)} />
    </div>
  );
}

function barStyle(value: number | null): CSSProperties {
  return { "--lh-value": (value ?? 0) / 100 } as CSSProperties;
}

/** Announces every change of phase to screen readers, and progress in steps of 25%. */
export function Announcement({ phase, progress, text }: AnnouncementProps) {
  const quarter = Math.floor(progress / 25) * 25;
  const announced = phase === "processing" && quarter > 0 ? `${quarter}%` : text;
  return (
    <span className="lh-hidden" role="status" aria-live="polite">
      {phase === "processing" && quarter === 0 ? "Preparing" : announced}
    </span>
  );
}

export interface AnnouncementProps {
  phase: Phase;
  progress: number;
  text: string;
}
