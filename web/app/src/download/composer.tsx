import type { Priority, StartOptions } from "@longhaul/client";
import { formatBytes } from "@longhaul/react";
import { type FormEvent, useId, useState } from "react";
import { Icon } from "../ui/icons.js";
import { Segments } from "../ui/segments.js";
import { FilePicker } from "./file-picker.js";
import { type Checks, useChecks } from "./use-checks.js";

export interface ComposerProps {
  start(fileIds: readonly number[], options: StartOptions): Promise<unknown>;
}

/** The form that starts a download. */
export function Composer({ start }: ComposerProps) {
  const [ids, setIds] = useState<readonly number[]>([]);
  const [options, setOptions] = useState<StartOptions>({});
  const [starting, setStarting] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const checks = useChecks(ids);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (starting || !ids.length) return;
    setStarting(true);
    setError(null);
    try {
      await start(ids, options);
      setIds([]);
      setOptions(({ fileName: _, ...others }) => others);
    } catch (error) {
      setError(error instanceof Error ? error.message : String(error));
    } finally {
      setStarting(false);
    }
  };

  return (
    <form className="composer card" onSubmit={submit} aria-label="New download">
      <FilePicker ids={ids} checks={checks} onChange={setIds} />
      <Options options={options} onChange={setOptions} />
      {error && (
        <p className="notice" data-tone="danger" role="alert">
          <Icon name="alert" />
          {error}
        </p>
      )}
      <button
        className="button primary start"
        type="submit"
        aria-disabled={starting || !ids.length}
      >
        <Icon name="download" />
        {starting ? "Starting" : startLabel(ids, checks)}
      </button>
    </form>
  );
}

function startLabel(ids: readonly number[], checks: Checks): string {
  if (!ids.length) return "Start download";
  const files = ids.length === 1 ? "1 file" : `${ids.length.toLocaleString("en")} files`;
  const sizes = ids.map((id) => checks.get(id)?.size ?? null);
  const knownSizes = sizes.filter((size) => size !== null);
  if (knownSizes.length < ids.length) return `Download ${files}`;
  return `Download ${files}, ${formatBytes(knownSizes.reduce((sum, size) => sum + size, 0))}`;
}

const PRIORITIES: readonly { value: Priority; label: string }[] = [
  { value: "low", label: "Low" },
  { value: "normal", label: "Normal" },
  { value: "high", label: "High" },
];
const MISSING = [
  { value: "fail", label: "Stop" },
  { value: "skip", label: "Skip it" },
] as const;

interface OptionsProps {
  options: StartOptions;
  onChange(options: StartOptions): void;
}

function Options({ options, onChange }: OptionsProps) {
  const nameId = useId();
  const { fileName, ...unnamed } = options;
  return (
    <details className="options">
      <summary>
        Options
        <Icon name="chevron" />
      </summary>
      <div className="options-body">
        <div className="field">
          <label htmlFor={nameId}>Archive name</label>
          <input
            id={nameId}
            className="input"
            placeholder="Automatic"
            maxLength={200}
            value={fileName ?? ""}
            onChange={({ target }) =>
              onChange(target.value ? { ...unnamed, fileName: target.value } : unnamed)
            }
          />
        </div>
        <Segments
          legend="Priority"
          options={PRIORITIES}
          value={options.priority ?? "normal"}
          onChange={(priority) => onChange({ ...options, priority })}
        />
        <Segments
          legend="If a file is missing"
          options={MISSING}
          value={options.onMissing ?? "fail"}
          onChange={(onMissing) => onChange({ ...options, onMissing })}
        />
      </div>
    </details>
  );
}
