import type { Job, JobStatus } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useCallback, useId } from "react";
import { age } from "./age.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";

export interface JobsProps {
  title: string;
  status: JobStatus;
  nothing: string;
}

const EVERY = 4_000;
const SHOWN = 6;

/** The caller's newest jobs in one state. */
export function Jobs({ title, status, nothing }: JobsProps) {
  const { operator } = useLonghaul();
  const ask = useCallback((stop: AbortSignal) => operator.jobs(status, stop), [operator, status]);
  const { data, error } = usePolled(ask, EVERY);
  const titleId = useId();
  const jobs = data?.jobs.slice(0, SHOWN) ?? [];
  return (
    <section className="card table-card" aria-labelledby={titleId}>
      <h2 id={titleId}>{title}</h2>
      {!data && error && <Unavailable error={error} />}
      {data && !jobs.length && <p className="muted">{nothing}</p>}
      {jobs.length > 0 && (
        <ul className="rows">
          {jobs.map((job) => (
            <Row key={job.jobId} job={job} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Row({ job }: { job: Job }) {
  const failed = job.status === "failed";
  return (
    <li>
      <span className="row-main">
        <code>{job.jobId.slice(0, 8)}</code>
        <span className="row-text">
          {failed ? (job.error ?? "Failed") : `${job.totalFiles ?? "?"} files, ${job.priority}`}
        </span>
      </span>
      {failed ? (
        <span className="code">{job.errorCode}</span>
      ) : (
        <span className="row-progress">
          <span className="lane">
            <span style={{ width: `${job.progress}%` }} />
          </span>
          {job.progress} %
        </span>
      )}
      <span className="small muted row-age">{age(job.completedAt ?? job.startedAt)}</span>
    </li>
  );
}
