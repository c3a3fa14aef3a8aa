import type { Worker } from "@longhaul/client";
import { formatSeconds } from "@longhaul/react";
import { userName } from "./format.js";
import { Unavailable } from "./unavailable.js";
import { JobLink } from "./views.js";

export interface WorkersProps {
  workers: readonly Worker[] | null;
  /** Why the user may not see them. */
  accessError: Error | null;
}

/** Maximum number of workers in the list. */
const SHOWN = 24;

/** Each worker with its jobs. */
export function Workers({ workers, accessError }: WorkersProps) {
  const more = (workers?.length ?? 0) - SHOWN;
  return (
    <section className="card table-card" aria-labelledby="workers-title">
      <h2 id="workers-title">Workers</h2>
      {accessError && <Unavailable error={accessError} />}
      {!workers && !accessError && <p className="muted">Loading…</p>}
      {workers && !workers.length && (
        <p className="muted">No workers are running, so no jobs will start.</p>
      )}
      {workers && workers.length > 0 && (
        <ul className="workers">
          {workers.slice(0, SHOWN).map((worker) => (
            <WorkerEntry key={worker.workerId} worker={worker} />
          ))}
        </ul>
      )}
      {more > 0 && <p className="small muted">and {more.toLocaleString("en")} more</p>}
    </section>
  );
}

function WorkerEntry({ worker: { workerId, host, since, slots, jobs } }: { worker: Worker }) {
  return (
    <li className="worker">
      <p className="worker-head">
        <strong>{host || workerId}</strong>
        <code>{workerId.slice(host ? host.length + 1 : workerId.length)}</code>
        <span className="small muted worker-use">
          {jobs.length} of {slots} busy{since && `, up ${uptime(since)}`}
        </span>
      </p>
      {jobs.length > 0 && (
        <ul className="rows" aria-label={`Jobs of ${workerId}`}>
          {jobs.map((job) => (
            <JobRow key={job.jobId} job={job} />
          ))}
        </ul>
      )}
    </li>
  );
}

function JobRow({ job }: { job: Worker["jobs"][number] }) {
  const { jobId, userId, priority, progress, totalFiles, attempt } = job;
  const files = totalFiles === 1 ? "1 file" : `${totalFiles.toLocaleString("en")} files`;
  const details = [files, priority !== "normal" && priority, attempt > 1 && `attempt ${attempt}`];
  return (
    <li>
      <span className="row-main">
        <JobLink jobId={jobId} />
        <span className="row-text">
          {details.filter(Boolean).join(", ")}{" "}
          <span className="small muted">{userName(userId)}</span>
        </span>
      </span>
      <span className="row-progress">
        <span className="meter">
          <span style={{ width: `${progress}%` }} />
        </span>
        <span className="row-percent">{progress}%</span>
      </span>
    </li>
  );
}

function uptime(since: string): string {
  return formatSeconds((Date.now() - Date.parse(since)) / 1_000);
}
