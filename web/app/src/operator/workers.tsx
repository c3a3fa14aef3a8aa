import type { Worker } from "@longhaul/client";
import { formatSeconds } from "@longhaul/react";
import { Unavailable } from "./unavailable.js";
import { who } from "./who.js";

export interface WorkersProps {
  workers: readonly Worker[] | null;
  /** Why they are not shown. */
  refusal: Error | null;
}

/** More would be a list that nobody reads. */
const SHOWN = 24;

/** Each worker, and what it does. */
export function Workers({ workers, refusal }: WorkersProps) {
  const more = (workers?.length ?? 0) - SHOWN;
  return (
    <section className="card table-card" aria-labelledby="workers-title">
      <h2 id="workers-title">Workers</h2>
      {refusal && <Unavailable error={refusal} />}
      {!workers && !refusal && <p className="muted">Not known yet.</p>}
      {workers && !workers.length && (
        <p className="muted">No worker shows a sign of life, so nothing is worked on.</p>
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
          {jobs.length} of {slots} busy{since && `, up ${upFor(since)}`}
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
  const words = [files, priority !== "normal" && priority, attempt > 1 && `attempt ${attempt}`];
  return (
    <li>
      <span className="row-main">
        <code>{jobId.slice(0, 8)}</code>
        <span className="row-text">
          {words.filter(Boolean).join(", ")} <span className="small muted">{who(userId)}</span>
        </span>
      </span>
      <span className="row-progress">
        <span className="lane">
          <span style={{ width: `${progress}%` }} />
        </span>
        <span className="row-percent">{progress} %</span>
      </span>
    </li>
  );
}

function upFor(since: string): string {
  return formatSeconds((Date.now() - Date.parse(since)) / 1_000);
}
