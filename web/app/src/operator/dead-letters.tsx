import type { DeadLetter } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback, useEffect, useRef, useState } from "react";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { age } from "./age.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";

export interface DeadLettersProps {
  /** How many there are; the list is asked for anew when this changes. */
  count: number;
  onChange(): void;
}

const EVERY = 30_000;
const FEW = 8;
/** The most that the API gives at once. */
const MANY = 100;

/** Jobs that failed for good although another attempt might help, and the way back. */
export function DeadLetters({ count, onChange }: DeadLettersProps) {
  const { operator } = useLonghaul();
  const [limit, setLimit] = useState(FEW);
  const ask = useCallback(
    (stop: AbortSignal) => operator.deadLetters(limit, stop),
    [operator, limit],
  );
  const { data, error, refresh } = usePolled(ask, EVERY);
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
      {!data && error && <Unavailable error={error} asks={false} />}
      {!data && !error && <p className="muted">Not known yet.</p>}
      {data && !letters.length && <p className="muted">None.</p>}
      {letters.length > 0 && (
        <ul className="rows">
          {letters.map((letter) => (
            <Row key={letter.job.jobId} letter={letter} onRequeued={requeued} />
          ))}
        </ul>
      )}
      {data?.nextCursor && limit === FEW && (
        <button className="link" type="button" onClick={() => setLimit(MANY)}>
          Show more
        </button>
      )}
      {data?.nextCursor && limit === MANY && (
        <p className="small muted">The newest {MANY}. Further ones follow as these are requeued.</p>
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
  const [refusal, setRefusal] = useState<string | null>(null);
  const requeue = async () => {
    if (busy) return;
    setBusy(true);
    setRefusal(null);
    try {
      await operator.requeue(job.jobId);
      onRequeued();
    } catch (error) {
      setRefusal((error as Error).message);
      setBusy(false);
    }
  };
  const id = job.jobId.slice(0, 8);
  return (
    <li>
      <span className="row-main">
        <code>{id}</code>
        <span className="row-text">
          {refusal ?? job.error ?? "Failed"}
          <span className="row-note small muted">
            <span className="code">{job.errorCode}</span>
            <span>{attempts.length === 1 ? "1 attempt" : `${attempts.length} attempts`}</span>
            <span>{age(since)}</span>
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

function useWhenChanged(value: number, then: () => void): void {
  const before = useRef(value);
  useEffect(() => {
    if (before.current !== value) then();
    before.current = value;
  }, [value, then]);
}
