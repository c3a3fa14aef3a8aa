import type { ExploredJob, JobAction, TimelineEntry } from "@longhaul/client";
import { isFinished } from "@longhaul/client";
import { formatBytes, useLonghaul } from "@longhaul/react";
import { useCallback, useState } from "react";
import { ACTIONS, ActionDialog } from "./action-dialog.js";
import { Copyable } from "./copyable.js";
import { clockTime } from "./format.js";
import { useLink } from "./location.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";

const POLL_INTERVAL = 2_000;
/** Files that are listed; those that are not done come first. */
const SHOWN_FILES = 50;

/** One job: what it is, what happened to it, and what an operator can do. */
export function JobPage({ jobId }: { jobId: string }) {
  const { operator } = useLonghaul();
  const request = useCallback((stop: AbortSignal) => operator.job(jobId, stop), [operator, jobId]);
  const [isEnded, setEnded] = useState(false);
  const { data, error, refresh } = usePolled(request, isEnded ? 30_000 : POLL_INTERVAL);
  const ended = data !== null && isFinished(data.job);
  if (ended !== isEnded) setEnded(ended);
  const found = data?.job.jobId === jobId ? data : null;
  return (
    <section className="card table-card job-page" aria-labelledby="job-title">
      <p className="small">
        <a {...useLink({ name: "jobs", filter: {} })}>All jobs</a>
      </p>
      <h2 id="job-title">
        Job <Copyable value={jobId} name="job ID" />
      </h2>
      {!found && error && <Unavailable error={error} />}
      {!found && !error && <p className="muted">Loading…</p>}
      {found && <Details found={found} onChange={refresh} />}
    </section>
  );
}

function Details({ found, onChange }: { found: ExploredJob; onChange(): void }) {
  const [action, setAction] = useState<JobAction | null>(null);
  const { job, actions, timeline, files } = found;
  const closed = (changed: boolean) => {
    setAction(null);
    if (changed) onChange();
  };
  return (
    <>
      <p className="job-state">
        <span className="state" data-state={job.status}>
          {job.status}
          {job.status === "processing" && ` ${job.progress}%`}
        </span>
        {job.error && (
          <span className="row-text">
            {job.error} <span className="code">{job.errorCode}</span>
          </span>
        )}
      </p>
      {actions.length > 0 && (
        <div className="bulk">
          {(actions as JobAction[]).map((each) => (
            <button
              key={each}
              className="button small"
              type="button"
              title={ACTIONS[each].effect}
              onClick={() => setAction(each)}
            >
              {ACTIONS[each].label}…
            </button>
          ))}
        </div>
      )}
      <Facts found={found} />
      <h3>Timeline</h3>
      {found.history !== "ok" && (
        <p className="small muted">
          {found.history === "off"
            ? "Without a history, only the most important changes are known."
            : "The history is unavailable, so some changes are missing."}
        </p>
      )}
      <ol className="timeline">
        {timeline.map((entry, index) => (
          <Entry key={index} entry={entry} />
        ))}
      </ol>
      <Files files={files} />
      {action && <ActionDialog action={action} target={{ jobIds: [job.jobId] }} onClose={closed} />}
    </>
  );
}

function Facts({ found }: { found: ExploredJob }) {
  const { job, user, worker, traceId } = found;
  const facts: [string, string | null][] = [
    ["Priority", job.priority],
    ["Attempt", `${job.attempt} of ${job.maxAttempts}`],
    ["Files", `${job.processedFiles ?? 0} of ${job.totalFiles ?? "?"} done`],
    ["Worker", worker],
    ["Created", time(job.createdAt)],
    ["Started", time(job.startedAt)],
    ["Next attempt", time(job.retryAt)],
    ["Ended", time(job.completedAt)],
    ["Archive", job.fileSize === null ? null : `${job.fileName}, ${formatBytes(job.fileSize)}`],
    ["Downloads", job.downloads ? String(job.downloads) : null],
  ];
  return (
    <dl className="facts">
      <div>
        <dt>User</dt>
        <dd>
          <a {...useLink({ name: "jobs", filter: { user } })}>{user}</a>
        </dd>
      </div>
      {facts.map(
        ([name, value]) =>
          value && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
      {traceId && (
        <div className="fact-wide">
          <dt>Trace</dt>
          <dd>
            <Copyable value={traceId} name="trace ID" />
          </dd>
        </div>
      )}
    </dl>
  );
}

const TEXTS: Record<TimelineEntry["kind"], string> = {
  state: "",
  webhook: "Webhook ",
  link: "Link ",
  operator: "Operator: ",
};

function Entry({ entry }: { entry: TimelineEntry }) {
  const { kind, text, attempt, worker, errorCode, detail } = entry;
  const reason = entry.error ?? (kind === "state" ? detail : null);
  const notes = [
    kind === "webhook" && detail && `HTTP ${detail}`,
    kind === "webhook" ? `attempt ${attempt}` : attempt ? `attempt ${attempt}` : null,
    worker && `on ${worker}`,
    kind === "link" && detail,
    kind === "operator" && (detail ?? "with the operator token"),
  ].filter(Boolean);
  return (
    <li data-kind={kind} data-state={kind === "state" ? text : undefined}>
      <time dateTime={entry.at} title={entry.at}>
        {clockTime(Date.parse(entry.at), true)}
      </time>
      <span className="row-text">
        <strong>
          {TEXTS[kind]}
          {text}
        </strong>{" "}
        <span className="small muted">{notes.join(", ")}</span>
        {(reason || errorCode) && (
          <span className="row-note small">
            <span className="code">{errorCode}</span>
            {reason}
          </span>
        )}
      </span>
    </li>
  );
}

function Files({ files }: { files: ExploredJob["files"] }) {
  if (!files.length) return null;
  const sorted = [...files].sort((one, other) => rank(one.state) - rank(other.state));
  const more = sorted.length - SHOWN_FILES;
  return (
    <>
      <h3>Files</h3>
      <ul className="rows">
        {sorted
          .slice(0, SHOWN_FILES)
          .map(({ file_id, state, fileName, size, errorCode, error }, index) => (
            <li key={`${file_id} ${index}`}>
              <code>{file_id}</code>
              <span className="row-text">{error ?? fileName ?? ""}</span>
              <span className="code">{errorCode}</span>
              <span className="small muted">
                {state}
                {size !== null && `, ${formatBytes(size)}`}
              </span>
            </li>
          ))}
      </ul>
      {more > 0 && <p className="small muted">and {more.toLocaleString("en")} more</p>}
    </>
  );
}

function rank(state: string): number {
  return ["failed", "missing", "pending"].indexOf(state) + 1 || 9;
}

function time(at: string | null): string | null {
  return at && clockTime(Date.parse(at), true);
}
