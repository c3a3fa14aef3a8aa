import { ApiProblem, type Priority, type StartOptions } from "@longhaul/client";
import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { formatCount, formatSize } from "../ui/format.js";
import { Icon } from "../ui/icons.js";
import { Segments } from "../ui/segments.js";
import { FilePicker } from "./file-picker.js";
import { addIds } from "./parse-ids.js";
import { type Checks, useChecks } from "./use-checks.js";

export interface ComposerProps {
  start(
    fileIds: readonly number[],
    options: StartOptions,
    extra: { firstFile: string | undefined; autoSave: boolean },
  ): Promise<unknown>;
}

/** The errors of the form: at the files, at the archive's name, or of the whole request. */
interface Errors {
  files?: string | null;
  fileName?: string | null;
  form?: string | null;
}

/** The form that starts a download. */
export function Composer({ start }: ComposerProps) {
  const [ids, setIds] = useState<readonly number[]>([]);
  const [text, setText] = useState("");
  const [options, setOptions] = useState<StartOptions>({});
  const [autoSave, setAutoSave] = useState(false);
  const [starting, setStarting] = useState(false);
  const [errors, setErrors] = useState<Errors>({});
  const form = useRef<HTMLFormElement>(null);
  const checks = useChecks(ids);
  const submitted = useRef(false);
  // After a failed submission, move the focus to the first invalid field.
  useEffect(() => {
    if (!submitted.current || !(errors.files || errors.fileName)) return;
    submitted.current = false;
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [errors]);

  /** Add what the text says to the selected files; null if it is invalid. */
  const add = (words: string): readonly number[] | null => {
    const result = addIds(ids, words);
    setErrors({ files: result.error });
    if (result.error) return null;
    setText("");
    setIds(result.ids);
    return result.ids;
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (starting) return;
    submitted.current = true;
    const fileIds = add(text);
    if (fileIds && !fileIds.length) setErrors({ files: "Enter at least one file number." });
    if (!fileIds?.length) return;
    submitted.current = false;
    setStarting(true);
    try {
      const firstFile = checks.get(fileIds[0] ?? 0)?.fileName ?? undefined;
      await start(fileIds, options, { firstFile, autoSave });
      setIds([]);
      setOptions(({ fileName: _, ...others }) => others);
    } catch (error) {
      submitted.current = true;
      setErrors(errorsOf(error));
    } finally {
      setStarting(false);
    }
  };

  return (
    <form
      className="composer card"
      onSubmit={submit}
      aria-label="New download"
      ref={form}
      noValidate
    >
      <FilePicker
        ids={ids}
        checks={checks}
        text={text}
        error={errors.files ?? null}
        onText={(text) => {
          setText(text);
          setErrors({});
        }}
        onAdd={add}
        onChange={setIds}
      />
      <Options
        options={options}
        error={errors.fileName ?? null}
        onChange={(options) => {
          setOptions(options);
          setErrors({});
        }}
        autoSave={autoSave}
        onAutoSave={setAutoSave}
      />
      {errors.form && (
        <p className="notice" data-tone="danger" role="alert">
          <Icon name="alert" />
          {errors.form}
        </p>
      )}
      <button className="button primary start" type="submit" aria-disabled={starting}>
        <Icon name="download" />
        {starting ? "Starting" : startLabel(ids, checks)}
      </button>
    </form>
  );
}

/** Return the messages of an error response by field; everything else is an error of the form. */
function errorsOf(error: unknown): Errors {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiProblem)) return { form: message };
  const textOf = (field: string) => {
    const messages = Object.entries(error.errors)
      .filter(([name]) => name === field || name.startsWith(`${field}.`))
      .flatMap(([, messages]) => messages);
    return messages.length ? messages.join(" ") : null;
  };
  const files = textOf("file_ids") ?? textOf("file_id");
  const fileName = textOf("fileName");
  return files || fileName ? { files, fileName } : { form: message };
}

function startLabel(ids: readonly number[], checks: Checks): string {
  if (!ids.length) return "Start download";
  const files = formatCount(ids.length, "file", "files");
  const sizes = ids.map((id) => checks.get(id)?.size ?? null);
  const knownSizes = sizes.filter((size) => size !== null);
  if (knownSizes.length < ids.length) return `Download ${files}`;
  return `Download ${files}, ${formatSize(knownSizes.reduce((sum, size) => sum + size, 0))}`;
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
  /** What is wrong with the archive's name. */
  error: string | null;
  onChange(options: StartOptions): void;
  autoSave: boolean;
  onAutoSave(autoSave: boolean): void;
}

function Options({ options, error, onChange, autoSave, onAutoSave }: OptionsProps) {
  const [open, setOpen] = useState(false);
  const nameId = useId();
  const errorId = useId();
  const { fileName, ...unnamed } = options;
  return (
    <details
      className="options"
      open={open || error !== null}
      onToggle={({ currentTarget }) => setOpen(currentTarget.open)}
    >
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
            aria-invalid={error !== null}
            aria-describedby={error ? errorId : undefined}
            onChange={({ target }) =>
              onChange(target.value ? { ...unnamed, fileName: target.value } : unnamed)
            }
          />
          {error && (
            <p id={errorId} className="small" data-mistake role="alert">
              {error}
            </p>
          )}
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
        <label className="check">
          <input
            type="checkbox"
            checked={autoSave}
            onChange={({ target }) => onAutoSave(target.checked)}
          />
          Save the archive automatically when it is ready
        </label>
      </div>
    </details>
  );
}
