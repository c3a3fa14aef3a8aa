import type { DeadLetter } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect, useRef, useState } from "react";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { timeAgo } from "./format.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";
import { JobLink } from "./views.js";

export interface DeadLettersProps {
  /** How many there are; the list is reloaded when this changes. */
  count: number;
  onChange(): void;
}

const POLL_INTERVAL = 30_000;
const FIRST_LIMIT = 8;
/** The API's maximum page size. */
const MAX_LIMIT = 100;

/** Jobs that failed after their last attempt, with a button to requeue each one. */
export function DeadLetters({ count, onChange }: DeadLettersProps) {
  const { operator } = useLonghaul();
  const [limit, setLimit] = useState(FIRST_LIMIT);
  const request = useCallback(
    (stop: AbortSignal) => operator.deadLetters(limit, stop),
    [operator, limit],
  );
  const { data, error, refresh } = usePolled(request, POLL_INTERVAL);
  useWhenChanged(count, refresh);
  const { target, within } = useKeptFocus<HTMLHeadingElement>();
  const letters = data?.deadLetters ?? [];
  const requeued = () => {
    refresh();
    onChange();
  };
  return (
    <section className="card table-card" aria-labelledby="dead-title" {...within}>
      <h2 id="dead-title" ref={target} tabIndex={-1}>
        Dead letters {count > 0 && <span className="count">{count.toLocaleString("en")}</span>}
      </h2>
      {!data && error && <Unavailable error={error} />}
      {!data && !error && <p className="muted">Loading…</p>}
      {data && !letters.length && <p className="muted">No dead letters.</p>}
      {letters.length > 0 && (
        <p className="small muted">
          Failed jobs that may succeed if they run again. Requeue runs one again with all attempts.
        </p>
      )}
      {letters.length > 0 && (
        <ul className="rows">
          {letters.map((letter) => (
            <Row key={letter.job.jobId} letter={letter} onRequeued={requeued} />
          ))}
        </ul>
      )}
      {data?.nextCursor && limit === FIRST_LIMIT && (
        <button className="link" type="button" onClick={() => setLimit(MAX_LIMIT)}>
          Show more
        </button>
      )}
      {data?.nextCursor && limit === MAX_LIMIT && (
        <p className="small muted">Showing the newest {MAX_LIMIT}. Requeue some to see more.</p>
      )}
    </section>
  );
}

interface RowProps {
  letter: DeadLetter;
  onRequeued(): void;
}

function Row({ letter: { job, attempts, since }, onRequeued }: RowProps) {
  const { operator } = useLonghaul();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const requeue = async () => {
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await operator.requeue(job.jobId);
      onRequeued();
    } catch (error) {
      setError((error as Error).message);
      setBusy(false);
    }
  };
  const id = job.jobId.slice(0, 8);
  return (
    <li>
      <span className="row-main">
        <JobLink jobId={job.jobId} />
        <span className="row-text">
          {error ?? job.error ?? "Failed"}
          <span className="row-note small muted">
            <span className="code">{job.errorCode}</span>
            <span>{attempts.length === 1 ? "1 attempt" : `${attempts.length} attempts`}</span>
            <span>{timeAgo(since)}</span>
          </span>
        </span>
      </span>
      <button
        className="button small"
        type="button"
        aria-disabled={busy}
        aria-label={`Requeue ${id}`}
        onClick={() => void requeue()}
      >
        <Icon name="retry" />
        Requeue
      </button>
    </li>
  );
}

function useWhenChanged(value: number, onChange: () => void): void {
  const previous = useRef(value);
  useEffect(() => {
    if (previous.current !== value) onChange();
    previous.current = value;
  }, [value, onChange]);
}
