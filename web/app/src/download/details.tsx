import type { FileReport, Job } from "@longhaul/client";
import { formatBytes, useLonghaul } from "@longhaul/react";
import { useEffect, useRef, useState } from "react";
import { Icon } from "../ui/icons.js";

/** What is there for those who want to know. */
export function Details({ job }: { job: Job }) {
  return (
    <div className="more-body">
      <Files job={job} />
      <Facts job={job} />
    </div>
  );
}

function Facts({ job }: { job: Job }) {
  const facts: [string, string | null][] = [
    ["Job", job.jobId],
    ["Priority", job.priority],
    ["Attempt", job.attempt ? `${job.attempt} of ${job.maxAttempts}` : null],
    ["Error", job.errorCode],
    ["Checksum", job.checksum],
  ];
  return (
    <dl className="facts">
      {facts.map(
        ([name, value]) =>
          value && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** Milliseconds between two looks at the files while they change. */
const LOOK_EVERY = 3_000;

function Files({ job }: { job: Job }) {
  const { files, next, more } = useFiles(job);
  return (
    <div>
      <ul className="files" aria-label="Files">
        {files.map((file) => (
          <File key={file.file_id} file={file} />
        ))}
      </ul>
      {next && (
        <button className="link" type="button" onClick={more}>
          Show more
        </button>
      )}
    </div>
  );
}

function File({ file }: { file: FileReport }) {
  const bad = file.state === "missing" || file.state === "failed";
  return (
    <li data-state={file.state}>
      <Icon name={bad ? "alert" : file.state === "done" ? "check" : "clock"} />
      <span className="picked-name">{file.fileName ?? file.file_id}</span>
      <span className="small muted">
        {bad ? (file.error ?? file.state) : file.size !== null && formatBytes(file.size)}
      </span>
      <span className="hidden">{file.state}</span>
    </li>
  );
}

/** The pages of files that were asked for, looked at anew while files get done. */
function useFiles({ jobId, processedFiles, status }: Job) {
  const longhaul = useLonghaul();
  const [pages, setPages] = useState<{ files: FileReport[]; next: string | null }[]>([]);
  const [cursors, setCursors] = useState<(string | null)[]>([null]);
  const moment = useThrottled(`${status} ${processedFiles}`);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `moment` says when to look anew.
  useEffect(() => {
    let gone = false;
    const ask = cursors.map((cursor) => longhaul.open(jobId).files(cursor));
    Promise.all(ask).then(
      (answers) => {
        if (!gone) setPages(answers.map(({ files, nextCursor }) => ({ files, next: nextCursor })));
      },
      () => undefined,
    );
    return () => {
      gone = true;
    };
  }, [longhaul, jobId, cursors, moment]);
  const next = pages.at(-1)?.next ?? null;
  return {
    files: pages.flatMap(({ files }) => files),
    next,
    more: () => setCursors([...cursors, next]),
  };
}

/** The value, but no more than one change in a while. */
function useThrottled<T>(value: T): T {
  const [slow, setSlow] = useState(value);
  const changedAt = useRef(Date.now());
  useEffect(() => {
    const wait = changedAt.current + LOOK_EVERY - Date.now();
    const timer = setTimeout(
      () => {
        changedAt.current = Date.now();
        setSlow(value);
      },
      Math.max(0, wait),
    );
    return () => clearTimeout(timer);
  }, [value]);
  return slow;
}
