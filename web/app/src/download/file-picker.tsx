import { formatBytes } from "@longhaul/react";
import { type KeyboardEvent, useId, useState } from "react";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { MAX_FILES, parseIds, tooMany } from "./parse-ids.js";
import { type Checks, MAX_CHECKED } from "./use-checks.js";
import { useSamples } from "./use-samples.js";

export interface FilePickerProps {
  ids: readonly number[];
  checks: Checks;
  onChange(ids: readonly number[]): void;
}

/** An input for file numbers and ranges, with the list of selected files. */
export function FilePicker({ ids, checks, onChange }: FilePickerProps) {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  const inputId = useId();
  const helpId = useId();
  const { target, within } = useKeptFocus<HTMLInputElement>();

  const add = (words: string) => {
    const parsed = parseIds(words);
    const all = [...new Set([...ids, ...parsed.ids])];
    const problem = parsed.error ?? (all.length > MAX_FILES ? tooMany() : null);
    setError(problem);
    if (problem) return;
    setText("");
    onChange(all);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && text.trim()) {
      event.preventDefault();
      add(text);
    }
    if (event.key === "Backspace" && !text && ids.length) onChange(ids.slice(0, -1));
  };

  return (
    <div className="picker" {...within}>
      <label className="picker-label" htmlFor={inputId}>
        Files
      </label>
      <div className="picker-row">
        <input
          id={inputId}
          ref={target}
          className="input"
          inputMode="text"
          autoComplete="off"
          placeholder="10001, 10003-10006"
          value={text}
          aria-describedby={helpId}
          aria-invalid={error !== null}
          onChange={({ target }) => {
            setText(target.value);
            setError(null);
          }}
          onKeyDown={onKeyDown}
          onBlur={() => text.trim() && add(text)}
        />
        <button className="button" type="button" onClick={() => add(text)}>
          Add
        </button>
      </div>
      <p id={helpId} className="small muted" data-error={error !== null || undefined}>
        {error ?? "File numbers and ranges, up to 1,000 files."}
      </p>
      {ids.length ? (
        <Picked ids={ids} checks={checks} onChange={onChange} />
      ) : (
        <Suggestions onPick={add} />
      )}
    </div>
  );
}

function Picked({ ids, checks, onChange }: FilePickerProps) {
  const more = ids.length - MAX_CHECKED;
  return (
    <div>
      <ul className="picked" aria-label="Selected files">
        {ids.slice(0, MAX_CHECKED).map((id) => (
          <PickedFile
            key={id}
            id={id}
            check={checks.get(id) ?? null}
            onRemove={() => onChange(ids.filter((other) => other !== id))}
          />
        ))}
      </ul>
      <p className="picked-foot small muted">
        <span>{more > 0 && `and ${more.toLocaleString("en")} more`}</span>
        <button className="link" type="button" onClick={() => onChange([])}>
          Clear
        </button>
      </p>
    </div>
  );
}

interface PickedFileProps {
  id: number;
  check: ReturnType<Checks["get"]> | null;
  onRemove(): void;
}

function PickedFile({ id, check, onRemove }: PickedFileProps) {
  const missing = check?.available === false;
  return (
    <li data-missing={missing || undefined}>
      <Icon name={missing ? "alert" : "file"} />
      <span className="picked-name">{check?.fileName ?? id}</span>
      <span className="small muted">
        {missing ? "not found" : check?.size != null && formatBytes(check.size)}
      </span>
      <button
        className="icon-button"
        type="button"
        aria-label={`Remove file ${id}`}
        onClick={onRemove}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}

function Suggestions({ onPick }: { onPick(words: string): void }) {
  const samples = useSamples();
  if (!samples.length) return null;
  return (
    <div className="suggestions">
      <span className="small muted">Try</span>
      {samples.map((words) => (
        <button className="chip" key={words} type="button" onClick={() => onPick(words)}>
          {words}
        </button>
      ))}
    </div>
  );
}
