import { type CSSProperties, useEffect, useRef, useState } from "react";
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

export interface AnnouncementProps {
  text: string;
  /** Whether the state of the download is not known yet; the first one is not announced. */
  isInitial: boolean;
}

/** Announces a text to screen readers when it changes, but not what the page starts with. */
export function Announcement({ text, isInitial }: AnnouncementProps) {
  const [announced, setAnnounced] = useState("");
  useOnChange(text, isInitial, setAnnounced);
  return (
    <span className="lh-hidden" role="status" aria-live="polite">
      {announced}
    </span>
  );
}

/** Call `onChange` when the text changes, but not for the first text that is not initial. */
export function useOnChange(text: string, isInitial: boolean, onChange: (text: string) => void) {
  const previous = useRef<string | null>(null);
  useEffect(() => {
    const isChange = previous.current !== null && previous.current !== text;
    previous.current = isInitial ? null : text;
    if (isChange && !isInitial) onChange(text);
  }, [text, isInitial, onChange]);
}
