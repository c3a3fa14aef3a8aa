import type {
  JobAction,
  JobActionsRequest,
  JobActionsResult,
  JobFilter,
  Priority,
} from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { type FormEvent, useEffect, useId, useRef, useState } from "react";

/** Which jobs an action is for. */
export type Target = { jobIds: readonly string[] } | { filter: JobFilter };

export interface ActionDialogProps {
  action: JobAction;
  target: Target;
  /** Called when the dialog is closed; `changed` says whether jobs were changed. */
  onClose(changed: boolean): void;
}

export interface ActionTexts {
  label: string;
  /** On the button that is for all found jobs. */
  labelForAll: string;
  done: string;
  effect: string;
}

export const ACTIONS: Record<JobAction, ActionTexts> = {
  cancel: {
    label: "Cancel",
    labelForAll: "Cancel",
    done: "cancelled",
    effect: "Queued jobs never start, and running jobs stop within a second.",
  },
  retry: {
    label: "Retry",
    labelForAll: "Retry failed",
    done: "retried",
    effect:
      "Failed jobs run again with all attempts, whatever made them fail, regardless of the limits " +
      "of their users.",
  },
  requeue: {
    label: "Requeue",
    labelForAll: "Requeue dead letters",
    done: "requeued",
    effect:
      "Of the failed jobs, only dead letters run again: those that may succeed this time. They get " +
      "all attempts, regardless of the limits of their users.",
  },
  prioritize: {
    label: "Set priority",
    labelForAll: "Set priority",
    done: "moved",
    effect: "Queued jobs move to the end of the queue of that priority.",
  },
};

type Step =
  | { name: "counting" }
  | { name: "confirm"; preview: JobActionsResult }
  | { name: "running"; changed: number }
  | { name: "done"; changed: number; rejected: JobActionsResult["rejected"] }
  | { name: "failed"; message: string; changed: number };

/** Asks before an action, and says how many jobs it would change. */
export function ActionDialog({ action, target, onClose }: ActionDialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [priority, setPriority] = useState<Priority>("high");
  const { step, run, stop } = useAction(action, target, priority);
  useEffect(() => dialog.current?.showModal(), []);
  // While a request runs, its jobs may have changed already.
  const changed = step.name === "running" || ("changed" in step && step.changed > 0);
  const { label, effect } = ACTIONS[action];
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void run();
  };
  return (
    <dialog
      className="dialog"
      ref={dialog}
      aria-labelledby={titleId}
      onClose={() => {
        stop();
        onClose(changed);
      }}
    >
      <form onSubmit={submit}>
        <h2 id={titleId}>{label} jobs</h2>
        <p>{effect}</p>
        {action === "prioritize" && step.name !== "done" && (
          <PriorityField value={priority} disabled={changed} onChange={setPriority} />
        )}
        <p role="status">{textOf(step, action)}</p>
        {step.name === "done" && step.rejected.length > 0 && (
          <ul className="small">
            {step.rejected.map(({ jobId, error }) => (
              <li key={jobId}>
                <code>{jobId.slice(0, 8)}</code> {error}
              </li>
            ))}
          </ul>
        )}
        <div className="dialog-buttons">
          <button className="button" type="button" onClick={() => dialog.current?.close()}>
            {closeLabel(step)}
          </button>
          {step.name === "confirm" && step.preview.matched > 0 && (
            <button className="button primary" type="submit">
              {label} {count(step.preview)}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}

function closeLabel({ name }: Step): string {
  if (name === "running") return "Stop";
  return name === "done" || name === "failed" ? "Close" : "Keep as is";
}

interface PriorityFieldProps {
  value: Priority;
  disabled: boolean;
  onChange(value: Priority): void;
}

function PriorityField(props: PriorityFieldProps) {
  return (
    <label className="dialog-field">
      New priority
      <select
        className="input"
        value={props.value}
        disabled={props.disabled}
        onChange={(event) => props.onChange(event.target.value as Priority)}
      >
        <option value="high">High</option>
        <option value="normal">Normal</option>
        <option value="low">Low</option>
      </select>
    </label>
  );
}

/**
 * Count the jobs when the dialog opens, and again for another priority: jobs that have it already do
 * not count. `run` changes them, batch by batch.
 */
function useAction(action: JobAction, latestTarget: Target, priority: Priority) {
  const { operator } = useLonghaul();
  const [step, setStep] = useState<Step>({ name: "counting" });
  // The page passes a new object whenever it renders; what was counted is what is changed.
  const [target] = useState(latestTarget);
  useEffect(() => {
    let outdated = false;
    setStep({ name: "counting" });
    operator.act({ ...requestOf(action, target, priority), dryRun: true }).then(
      (preview) => !outdated && setStep({ name: "confirm", preview }),
      (error: Error) =>
        !outdated && setStep({ name: "failed", message: error.message, changed: 0 }),
    );
    return () => {
      outdated = true;
    };
  }, [operator, action, target, priority]);
  /** Whether the dialog was closed: then the jobs that are left stay as they are. */
  const stopped = useRef(false);
  useEffect(() => {
    stopped.current = false;
    return () => {
      stopped.current = true;
    };
  }, []);
  const stop = () => {
    stopped.current = true;
  };
  const run = async () => {
    if (step.name !== "confirm") return;
    let untried: Target | null = asOf(target, step.preview.asOf);
    const rejected: JobActionsResult["rejected"] = [];
    let changed = 0;
    try {
      while (untried && !stopped.current) {
        setStep({ name: "running", changed });
        const result: JobActionsResult = await operator.act(requestOf(action, untried, priority));
        changed += result.changed;
        rejected.push(...result.rejected);
        untried = untriedOf(untried, result);
      }
      setStep({ name: "done", changed, rejected });
    } catch (error) {
      setStep({ name: "failed", message: (error as Error).message, changed });
    }
  };
  return { step, run, stop };
}

function requestOf(action: JobAction, target: Target, priority: Priority): JobActionsRequest {
  return { action, ...target, ...(action === "prioritize" && { priority }) };
}

/** Return the jobs that were not tried yet, or null if there is nothing left to try. */
function untriedOf(target: Target, { matched, changed, remaining }: JobActionsResult) {
  if (!remaining) return null;
  // Jobs that a filter finds and that cannot be changed match again.
  if ("filter" in target) return changed ? target : null;
  const tried = matched - remaining;
  return tried ? { jobIds: target.jobIds.slice(tried) } : null;
}

/** Leave out jobs that were created after they were counted. */
function asOf(target: Target, time: string): Target {
  if (!("filter" in target) || target.filter.to) return target;
  return { filter: { ...target.filter, to: time } };
}

function textOf(step: Step, action: JobAction): string {
  switch (step.name) {
    case "counting":
      return "Counting…";
    case "confirm":
      return step.preview.matched ? `This applies to ${count(step.preview)}.` : "No jobs match.";
    case "running":
      return step.changed ? `${jobs(step.changed)} ${ACTIONS[action].done}…` : "Working…";
    case "done":
      return `${jobs(step.changed)} ${ACTIONS[action].done}.`;
    case "failed":
      return step.changed ? `${step.message} ${jobs(step.changed)} changed.` : step.message;
  }
}

function count({ matched, more }: JobActionsResult): string {
  return more ? `more than ${jobs(matched)}` : jobs(matched);
}

function jobs(count: number): string {
  return count === 1 ? "1 job" : `${count.toLocaleString("en")} jobs`;
}
