import type { AuditLogPage } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback } from "react";
import { clockTime } from "./format.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";
import { JobLink } from "./views.js";

const POLL_INTERVAL = 10_000;
/** The API's maximum page size. */
const LIMIT = 100;
const SHOWN_JOBS = 5;

/** The newest actions of operators. */
export function AuditLog() {
  const { operator } = useLonghaul();
  const request = useCallback(
    (stop: AbortSignal) => operator.auditLog({ limit: LIMIT }, stop),
    [operator],
  );
  const { data, error } = usePolled(request, POLL_INTERVAL);
  return (
    <section className="card table-card" aria-labelledby="audit-title">
      <h2 id="audit-title">Audit log</h2>
      {!data && error && <Unavailable error={error} />}
      {!data && !error && <p className="muted">Loading…</p>}
      {data && !data.entries.length && <p className="muted">No actions yet.</p>}
      {data && data.entries.length > 0 && (
        <ul className="rows">
          {data.entries.map((entry) => (
            <Entry key={`${entry.at} ${entry.requestId}`} entry={entry} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Entry({ entry }: { entry: AuditLogPage["entries"][number] }) {
  const { at, action, operator, changed, jobIds, parameters } = entry;
  const jobs = changed === 1 ? "1 job" : `${changed.toLocaleString("en")} jobs`;
  const isAboutJobs = action !== "pause" && action !== "resume";
  return (
    <li>
      <time className="small muted" dateTime={at} title={at}>
        {clockTime(Date.parse(at), true)}
      </time>
      <span className="row-text">
        <strong>{action}</strong> {isAboutJobs && jobs}
        <span className="row-note small muted">
          {operator ?? "with the operator token"}
          {Object.keys(parameters).length > 0 && <code>{JSON.stringify(parameters)}</code>}
        </span>
      </span>
      <span className="audit-jobs">
        {jobIds.slice(0, SHOWN_JOBS).map((jobId) => (
          <JobLink key={jobId} jobId={jobId} />
        ))}
        {changed > SHOWN_JOBS && <span className="small muted">…</span>}
      </span>
    </li>
  );
}
