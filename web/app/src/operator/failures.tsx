import type { FailedJob } from "@longhaul/client";
import { timeAgo, userName } from "./format.js";
import { Unavailable } from "./unavailable.js";
import { JobLink } from "./views.js";

export interface FailuresProps {
  failures: readonly FailedJob[] | null;
  /** Why the user may not see them. */
  accessError: Error | null;
}

const SHOWN = 6;

/** The most recently failed jobs of all users. */
export function Failures({ failures, accessError }: FailuresProps) {
  return (
    <section className="card table-card" aria-labelledby="failures-title">
      <h2 id="failures-title">Recent failures</h2>
      {accessError && <Unavailable error={accessError} />}
      {!failures && !accessError && <p className="muted">Loading…</p>}
      {failures && !failures.length && <p className="muted">No jobs have failed.</p>}
      {failures && failures.length > 0 && (
        <ul className="rows">
          {failures.slice(0, SHOWN).map(({ jobId, userId, error, errorCode, completedAt }) => (
            <li key={jobId}>
              <span className="row-main">
                <JobLink jobId={jobId} />
                <span className="row-text">
                  {error ?? "Failed"}
                  <span className="row-note small muted">
                    <span className="code">{errorCode}</span>
                    {userName(userId)}
                    <span className="row-age">{timeAgo(completedAt)}</span>
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
