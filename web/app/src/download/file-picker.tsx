import { type ClipboardEvent, type KeyboardEvent, useId } from "react";
import { FileName } from "../ui/file-name.js";
import { formatNumber, formatSize } from "../ui/format.js";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { MAX_FILES } from "./parse-ids.js";
import { type Checks, MAX_CHECKED } from "./use-checks.js";
import { useSamples } from "./use-samples.js";

export interface FilePickerProps {
  ids: readonly number[];
  checks: Checks;
  /** What the user has typed and not added yet. */
  text: string;
  error: string | null;
  onText(text: string): void;
  /** Add the files that the words name. */
  onAdd(words: string): unknown;
  onChange(ids: readonly number[]): void;
}

/** An input for file numbers and ranges, with the list of selected files. */
export function FilePicker(props: FilePickerProps) {
  const { ids, checks, text, error, onText, onAdd, onChange } = props;
  const inputId = useId();
  const helpId = useId();
  const { target, within } = useKeptFocus<HTMLInputElement>();

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && text.trim()) {
      event.preventDefault();
      onAdd(text);
    }
    // Not when the focus is lost to a click: the list would move the button under the mouse.
    if (event.key === "Tab" && text.trim()) onAdd(text);
    if (event.key === "Backspace" && !text && ids.length) onChange(ids.slice(0, -1));
  };
  /** Keep the line ends of a pasted list as separators; the browser would remove them. */
  const onPaste = (event: ClipboardEvent<HTMLInputElement>) => {
    const pasted = event.clipboardData.getData("text");
    if (!/[\r\n]/.test(pasted)) return;
    event.preventDefault();
    const { selectionStart, selectionEnd } = event.currentTarget;
    const before = text.slice(0, selectionStart ?? text.length);
    const after = text.slice(selectionEnd ?? text.length);
    onText(before + pasted.trim().replace(/\s*[\r\n]+\s*/g, ", ") + after);
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
          onChange={({ target }) => onText(target.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        <button className="button" type="button" onClick={() => onAdd(text)}>
          Add
        </button>
      </div>
      <p
        id={helpId}
        className="small muted"
        data-mistake={error !== null || undefined}
        aria-live="assertive"
      >
        {error ?? `File numbers and ranges, up to ${formatNumber(MAX_FILES)} files.`}
      </p>
      {ids.length ? (
        <Picked ids={ids} checks={checks} onChange={onChange} />
      ) : (
        <Suggestions onPick={onAdd} />
      )}
    </div>
  );
}

function Picked({ ids, checks, onChange }: Pick<FilePickerProps, "ids" | "checks" | "onChange">) {
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
        <span>{more > 0 && `and ${formatNumber(more)} more`}</span>
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
      <span className="picked-name">
        <FileName name={check?.fileName ?? String(id)} />
      </span>
      <span className="small muted">
        {missing ? "not found" : check?.size != null && formatSize(check.size)}
      </span>
      <button
        className="icon-button"
        type="button"
        aria-label={["Remove file", String(id), check?.fileName].filter(Boolean).join(" ")}
        onClick={onRemove}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}

function Suggestions({ onPick }: { onPick(words: string): unknown }) {
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
