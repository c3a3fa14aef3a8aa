import type { FileReport, Job } from "@longhaul/client";
import { useLonghaul } from "@longhaul/react";
import { useEffect, useRef, useState } from "react";
import { FileName, plainName } from "../ui/file-name.js";
import { formatSize, formatTime } from "../ui/format.js";
import { Icon } from "../ui/icons.js";

export interface DetailsProps {
  job: Job;
  /** Until when the archive is available. */
  availability: string;
}

/** The files of a job and its technical details. */
export function Details({ job, availability }: DetailsProps) {
  return (
    <div className="more-body">
      <Files job={job} />
      <Facts job={job} availability={availability} />
    </div>
  );
}

/** The files that an archive lacks. */
export function MissingFiles({ job }: { job: Job }) {
  const longhaul = useLonghaul();
  const [files, setFiles] = useState<readonly FileReport[]>([]);
  const { jobId, version } = job;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another version may lack other files.
  useEffect(() => {
    let unmounted = false;
    longhaul
      .open(jobId)
      .allFiles()
      .then(
        (files) => {
          if (!unmounted) setFiles(files.filter(({ state }) => state === "missing"));
        },
        () => undefined,
      );
    return () => {
      unmounted = true;
    };
  }, [longhaul, jobId, version]);
  if (!files.length) return null;
  return <FileList label="Missing files" files={files} />;
}

function Facts({ job, availability }: DetailsProps) {
  const facts: [string, string | null][] = [
    ["Archive name", job.fileName && plainName(job.fileName)],
    ["Availability", availability],
    ["Started", formatTime(job.createdAt)],
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
              <dd>
                <bdi>{value}</bdi>
              </dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** Milliseconds between two requests for the files while they change. */
const REFRESH_INTERVAL = 3_000;

function Files({ job }: { job: Job }) {
  const { files, next, more } = useFiles(job);
  return (
    <div>
      <FileList label="Files" files={files} />
      {next && (
        <button className="link" type="button" onClick={more}>
          Show more
        </button>
      )}
    </div>
  );
}

function FileList({ label, files }: { label: string; files: readonly FileReport[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard has to reach a list that scrolls.
    <ul className="files" aria-label={label} tabIndex={0}>
      {files.map((file, index) => (
        <File key={`${file.file_id} ${index}`} file={file} />
      ))}
    </ul>
  );
}

function File({ file }: { file: FileReport }) {
  const hasError = file.state === "missing" || file.state === "failed";
  return (
    <li data-state={file.state}>
      <Icon name={hasError ? "alert" : file.state === "done" ? "check" : "clock"} />
      <span className="picked-name">
        <FileName name={file.path ?? file.fileName ?? `File ${file.file_id}`} />
      </span>
      <span className="small muted">
        {hasError ? (file.error ?? file.state) : file.size !== null && formatSize(file.size)}
      </span>
      <span className="hidden">{file.state}</span>
    </li>
  );
}

/** Load the pages of files that were requested, and reload them while files are processed. */
function useFiles({ jobId, processedFiles, status }: Job) {
  const longhaul = useLonghaul();
  const [pages, setPages] = useState<{ files: FileReport[]; next: string | null }[]>([]);
  const [cursors, setCursors] = useState<(string | null)[]>([null]);
  const change = useThrottled(`${status} ${processedFiles}`);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `change` triggers a reload.
  useEffect(() => {
    let unmounted = false;
    const requests = cursors.map((cursor) => longhaul.open(jobId).files(cursor));
    Promise.all(requests).then(
      (responses) => {
        if (!unmounted)
          setPages(responses.map(({ files, nextCursor }) => ({ files, next: nextCursor })));
      },
      () => undefined,
    );
    return () => {
      unmounted = true;
    };
  }, [longhaul, jobId, cursors, change]);
  const next = pages.at(-1)?.next ?? null;
  return {
    files: pages.flatMap(({ files }) => files),
    next,
    more: () => setCursors([...cursors, next]),
  };
}

/** Return the value, with at most one change per interval. */
function useThrottled<T>(value: T): T {
  const [throttled, setThrottled] = useState(value);
  const changedAt = useRef(Date.now());
  useEffect(() => {
    const wait = changedAt.current + REFRESH_INTERVAL - Date.now();
    const timer = setTimeout(
      () => {
        changedAt.current = Date.now();
        setThrottled(value);
      },
      Math.max(0, wait),
    );
    return () => clearTimeout(timer);
  }, [value]);
  return throttled;
}
