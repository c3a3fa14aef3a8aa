import {
  ApiProblem,
  type JobAction,
  type JobFilter,
  type ListedJob,
  type ListedJobsPage,
} from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import { ACTIONS, ActionDialog } from "./action-dialog.js";
import { timeAgo, userName } from "./format.js";
import { show } from "./location.js";
import { Unavailable } from "./unavailable.js";
import { usePolled } from "./use-polled.js";
import { JobLink } from "./views.js";

const POLL_INTERVAL = 5_000;
const LIMIT = 50;

const STATUSES = ["queued", "processing", "completed", "failed", "cancelled", "expired"];
const PRIORITIES = ["high", "normal", "low"];

/** Search the jobs of all users, and act on all that are found. */
export function Jobs({ filter }: { filter: JobFilter }) {
  const key = JSON.stringify(filter);
  const { pages, error, loading, more, refresh } = useJobs(key);
  const [action, setAction] = useState<JobAction | null>(null);
  const jobs = pages.flatMap((page) => page.jobs);
  const newest = pages[0];
  const closed = (changed: boolean) => {
    setAction(null);
    if (changed) refresh();
  };
  return (
    <section className="card table-card" aria-labelledby="jobs-title">
      <h2 id="jobs-title">Jobs</h2>
      <Filters filter={filter} errors={error instanceof ApiProblem ? error.errors : {}} />
      {newest && <Notice page={newest} />}
      {!newest && error && <Unavailable error={error} />}
      {!newest && !error && <p className="muted">Loading…</p>}
      {newest && error && <p className="notice">{error.message}</p>}
      {newest && !jobs.length && !pages.at(-1)?.nextCursor && (
        <p className="muted">No jobs found.</p>
      )}
      {jobs.length > 0 && (
        <>
          <BulkButtons onAction={setAction} />
          <ul className="rows jobs" aria-label="Found jobs">
            {jobs.map((job) => (
              <JobRow key={job.jobId} job={job} />
            ))}
          </ul>
        </>
      )}
      {pages.at(-1)?.nextCursor && (
        <button className="button" type="button" aria-disabled={loading} onClick={more}>
          Show older jobs
        </button>
      )}
      {action && <ActionDialog action={action} target={{ filter }} onClose={closed} />}
    </section>
  );
}

/** The newest page is polled while it is the only one. */
function useJobs(key: string) {
  const { operator } = useLonghaul();
  const [older, setOlder] = useState<readonly ListedJobsPage[]>([]);
  const [moreError, setMoreError] = useState<Error | null>(null);
  const [loading, setLoading] = useState(false);
  const request = useCallback(
    async (stop: AbortSignal) => ({
      key,
      page: await operator.jobs(JSON.parse(key), { limit: LIMIT }, stop),
    }),
    [operator, key],
  );
  const polled = usePolled(request, older.length ? null : POLL_INTERVAL);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another filter has other pages.
  useEffect(() => setOlder([]), [key]);
  const newest = polled.data?.key === key ? polled.data.page : null;
  const pages = newest ? [newest, ...older] : [];
  const more = async () => {
    const cursor = pages.at(-1)?.nextCursor;
    if (!cursor || loading) return;
    setLoading(true);
    try {
      const page = await operator.jobs(JSON.parse(key), { cursor, limit: LIMIT });
      setOlder((pages) => [...pages, page]);
      setMoreError(null);
    } catch (error) {
      setMoreError(error as Error);
    } finally {
      setLoading(false);
    }
  };
  const refresh = () => {
    setOlder([]);
    polled.refresh();
  };
  return { pages, error: moreError ?? polled.error, loading, more: () => void more(), refresh };
}

function Notice({ page }: { page: ListedJobsPage }) {
  const texts = [
    page.history === "off" &&
      "Without a history, finished jobs are listed only as long as their archives exist. " +
        "Search by user or by the full ID to find others.",
    page.history === "unavailable" && "The history is unavailable, so older jobs are missing.",
    page.partial && "There are too many jobs to search all of them. Narrow the search.",
  ].filter(Boolean);
  return texts.length ? <p className="small muted">{texts.join(" ")}</p> : null;
}

interface FiltersProps {
  filter: JobFilter;
  /** What is wrong with it, by field. */
  errors: ApiProblem["errors"];
}

function Filters({ filter, errors }: FiltersProps) {
  const form = useFormOf(filter);
  const submit = (form: HTMLFormElement) => {
    const given = [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]);
    const next = Object.fromEntries(given.filter(([, value]) => value)) as JobFilter;
    for (const name of ["from", "to"] as const) {
      const time = next[name];
      if (time) next[name] = new Date(time).toISOString();
    }
    show({ name: "jobs", filter: next });
  };
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    submit(event.currentTarget);
  };
  const given = { filter, errors };
  return (
    <search>
      <form className="filters" ref={form} onSubmit={onSubmit}>
        <Field name="q" label="Job ID" {...given} placeholder="or its beginning" />
        <Choice name="status" label="Status" {...given} values={STATUSES} />
        <Field name="errorCode" label="Error code" {...given} placeholder="FILE_NOT_FOUND" />
        <Field name="user" label="User" {...given} />
        <Choice name="priority" label="Priority" {...given} values={PRIORITIES} />
        <Time name="from" label="Created from" {...given} />
        <Time name="to" label="Created before" {...given} />
        <div className="filters-buttons">
          <button className="button primary" type="submit">
            Search
          </button>
          <button
            className="button quiet"
            type="button"
            onClick={() => show({ name: "jobs", filter: {} })}
          >
            Clear
          </button>
        </div>
      </form>
    </search>
  );
}

/** Show the filter of the URL in the form, which keeps the focus when the URL changes. */
function useFormOf(filter: JobFilter) {
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    for (const field of form.current?.elements ?? []) {
      if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement)) continue;
      const given = filter[field.name as keyof JobFilter] ?? "";
      const value = field.type === "datetime-local" ? localTime(given) : given;
      if (field.value !== value) field.value = value;
    }
  }, [filter]);
  return form;
}

interface FieldProps extends FiltersProps {
  name: keyof JobFilter;
  label: string;
  placeholder?: string;
}

function Field({ name, label, filter, errors, placeholder }: FieldProps) {
  return (
    <label>
      {label}
      <input
        className="input"
        type="search"
        name={name}
        defaultValue={filter[name] ?? ""}
        placeholder={placeholder}
        aria-invalid={name in errors}
        autoComplete="off"
        spellCheck={false}
      />
      <Mistake messages={errors[name]} />
    </label>
  );
}

function Choice({
  name,
  label,
  filter,
  errors,
  values,
}: FieldProps & { values: readonly string[] }) {
  return (
    <label>
      {label}
      <select
        className="input"
        name={name}
        defaultValue={filter[name] ?? ""}
        aria-invalid={name in errors}
        onChange={(event) => event.target.form?.requestSubmit()}
      >
        <option value="">Any</option>
        {values.map((value) => (
          <option key={value}>{value}</option>
        ))}
      </select>
      <Mistake messages={errors[name]} />
    </label>
  );
}

function Time({ name, label, filter, errors }: FieldProps) {
  return (
    <label>
      {label}
      <input
        className="input"
        type="datetime-local"
        name={name}
        step="1"
        defaultValue={localTime(filter[name])}
        aria-invalid={name in errors}
      />
      <Mistake messages={errors[name]} />
    </label>
  );
}

function Mistake({ messages }: { messages: readonly string[] | undefined }) {
  if (!messages) return null;
  return (
    <span className="small" data-mistake>
      {messages.join(" ")}
    </span>
  );
}

/** Format an ISO 8601 time as `datetime-local` expects it: local, without a zone. */
function localTime(time: string | null | undefined): string {
  const at = time ? new Date(time) : null;
  if (!at || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function BulkButtons({ onAction }: { onAction(action: JobAction): void }) {
  return (
    <fieldset className="bulk">
      <legend className="small muted">All jobs that match:</legend>
      {(Object.keys(ACTIONS) as JobAction[]).map((action) => (
        <button
          key={action}
          className="button small"
          type="button"
          title={ACTIONS[action].effect}
          onClick={() => onAction(action)}
        >
          {ACTIONS[action].labelForAll}…
        </button>
      ))}
    </fieldset>
  );
}

function JobRow({ job }: { job: ListedJob }) {
  const { jobId, userId, status, priority, progress, totalFiles, attempt, createdAt } = job;
  const files = totalFiles === 1 ? "1 file" : `${totalFiles.toLocaleString("en")} files`;
  const details = [files, priority !== "normal" && priority, attempt > 1 && `attempt ${attempt}`];
  return (
    <li>
      <JobLink jobId={jobId} />
      <span className="state" data-state={status}>
        {status}
        {status === "processing" && ` ${progress}%`}
      </span>
      <span className="row-text">
        {job.error ?? details.filter(Boolean).join(", ")}
        <span className="row-note small muted">
          <span className="code">{job.errorCode}</span>
          {userName(userId)}
          <span className="row-age">{timeAgo(createdAt)}</span>
        </span>
      </span>
    </li>
  );
}
