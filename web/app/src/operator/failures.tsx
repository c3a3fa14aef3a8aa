import type { FailedJob } from "@longhaul/client";
import { age } from "./age.js";
import { Unavailable } from "./unavailable.js";
import { who } from "./who.js";

export interface FailuresProps {
  failures: readonly FailedJob[] | null;
  /** Why they are not shown. */
  refusal: Error | null;
}

const SHOWN = 6;

/** The jobs of all users that failed last. */
export function Failures({ failures, refusal }: FailuresProps) {
  return (
    <section className="card table-card" aria-labelledby="failures-title">
      <h2 id="failures-title">Recent failures</h2>
      {refusal && <Unavailable error={refusal} asks={false} />}
      {!failures && !refusal && <p className="muted">Not known yet.</p>}
      {failures && !failures.length && <p className="muted">No job has failed.</p>}
      {failures && failures.length > 0 && (
        <ul className="rows">
          {failures.slice(0, SHOWN).map(({ jobId, userId, error, errorCode, completedAt }) => (
            <li key={jobId}>
              <span className="row-main">
                <code>{jobId.slice(0, 8)}</code>
                <span className="row-text">
                  {error ?? "Failed"}
                  <span className="row-note small muted">
                    <span className="code">{errorCode}</span>
                    {who(userId)}
                    <span className="row-age">{age(completedAt)}</span>
                  </span>
                </span>
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
