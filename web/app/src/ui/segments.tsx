import { useId } from "react";

export interface SegmentsProps<T extends string> {
  legend: string;
  options: readonly { value: T; label: string }[];
  value: T;
  onChange(value: T): void;
  /** Show the legend to screen readers only. */
  hiddenLegend?: boolean;
}

/** A segmented control, implemented with radio buttons. */
export function Segments<T extends string>(props: SegmentsProps<T>) {
  const { legend, options, value, onChange, hiddenLegend = false } = props;
  const name = useId();
  return (
    <fieldset className="field">
      <legend className={hiddenLegend ? "hidden" : undefined}>{legend}</legend>
      <div className="segments">
        {options.map((option) => (
          <label key={option.value}>
            <input
              type="radio"
              name={name}
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
