import { useId } from "react";

export interface SegmentsProps<T extends string> {
  legend: string;
  options: readonly { value: T; label: string }[];
  value: T;
  onChange(value: T): void;
  /** The legend is for screen readers only, because the place says the same. */
  quiet?: boolean;
}

/** A few choices beside each other, one of them chosen: radio buttons in other clothes. */
export function Segments<T extends string>(props: SegmentsProps<T>) {
  const { legend, options, value, onChange, quiet = false } = props;
  const name = useId();
  return (
    <fieldset className="field">
      <legend className={quiet ? "hidden" : undefined}>{legend}</legend>
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
