import type { StartOptions } from "@longhaul/client";
import {
  Announcement,
  ArchiveLink,
  type DownloadView,
  ENGLISH,
  formatBytes,
  isInProgress,
  Progress,
  useDownload,
} from "@longhaul/react";
import { type ReactNode, useEffect, useId, useState } from "react";
import { ConnectionBadge } from "../ui/connection-badge.js";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { Details } from "./details.js";
import { showIds } from "./parse-ids.js";
import type { ReportProgress } from "./use-title.js";

export interface DownloadCardProps {
  jobId: string;
  fileIds: readonly number[];
  startedAt: string;
  onRemove(jobId: string): void;
  /** Replace this download by a new one. */
  onRestart(jobId: string, fileIds: readonly number[], options: StartOptions): void;
  onProgress: ReportProgress;
}

/** A download in the list. */
export function DownloadCard({
  jobId,
  fileIds,
  startedAt,
  onRemove,
  onRestart,
  onProgress,
}: DownloadCardProps) {
  const view = useDownload(jobId);
  const titleId = useId();
  const detailsId = useId();
  const [open, setOpen] = useState(false);
  const { target, within } = useKeptFocus<HTMLHeadingElement>();
  const inProgress = isInProgress(view.phase);
  const progress = view.job?.progress ?? 0;
  useEffect(() => {
    onProgress(jobId, inProgress ? progress : null);
    return () => onProgress(jobId, null);
  }, [onProgress, jobId, inProgress, progress]);
  const status = ENGLISH.status(view);
  const skip = () => onRestart(jobId, fileIds, { onMissing: "skip" });
  return (
    <li>
      <article
        id={jobId}
        className="card download"
        data-phase={view.phase}
        aria-labelledby={titleId}
        {...within}
      >
        <div className="download-head">
          <div className="download-what">
            <h3 id={titleId} ref={target} tabIndex={-1}>
              {nameOf(view) ?? filesOf(fileIds)}
            </h3>
            <p className="small muted">{subtitle(view, fileIds, startedAt)}</p>
          </div>
          {inProgress && (
            <ConnectionBadge
              connection={view.connection}
              reconnectingTitle="The download continues in the background"
            />
          )}
        </div>
        {inProgress && (
          <Progress
            value={view.phase === "processing" ? progress : null}
            label={`Progress of ${filesOf(fileIds)}`}
            text={status}
            phase={view.phase}
          />
        )}
        <div className="download-foot">
          <p className="download-status" aria-hidden>
            {view.phase === "ready" && <Icon name="check" />}
            {view.phase === "failed" && <Icon name="alert" />}
            <span>{status}</span>
          </p>
          <Actions view={view} onRemove={() => onRemove(jobId)} onSkip={skip}>
            <Disclosure open={open} controls={detailsId} onChange={setOpen} />
          </Actions>
        </div>
        {view.requestError && (
          <p className="notice" data-tone="danger" role="alert">
            {view.requestError.message}
          </p>
        )}
        <Announcement phase={view.phase} progress={progress} text={status} />
        <div id={detailsId} hidden={!open}>
          {open && view.job && <Details job={view.job} />}
        </div>
      </article>
    </li>
  );
}

function filesOf(fileIds: readonly number[]): string {
  return fileIds.length === 1 ? "1 file" : `${fileIds.length.toLocaleString("en")} files`;
}

/** Return the archive's name, unless it was derived from the job's id. */
function nameOf({ job, jobId }: DownloadView): string | null {
  return job?.fileName && !job.fileName.includes(jobId ?? "") ? job.fileName : null;
}

function subtitle(view: DownloadView, fileIds: readonly number[], startedAt: string): string {
  const { phase, job } = view;
  const parts = [showIds(fileIds)];
  if (nameOf(view)) parts.unshift(filesOf(fileIds));
  if (phase === "processing" && job?.totalBytes) {
    parts.push(`${formatBytes(job.processedBytes ?? 0)} of ${formatBytes(job.totalBytes)}`);
  }
  if (phase === "ready" && job?.fileSize != null) parts.push(formatBytes(job.fileSize));
  if (!isInProgress(phase)) parts.push(formatStart(startedAt));
  return parts.join(" · ");
}

function formatStart(time: string): string {
  const start = new Date(time);
  const today = start.toDateString() === new Date().toDateString();
  const day = today ? {} : ({ day: "numeric", month: "short" } as const);
  return start.toLocaleString(undefined, { hour: "numeric", minute: "2-digit", ...day });
}

interface ActionsProps {
  view: DownloadView;
  onRemove(): void;
  onSkip(): void;
  children: ReactNode;
}

function Actions({ view, onRemove, onSkip, children }: ActionsProps) {
  const { phase, pending, cancel, job } = view;
  const busy = pending !== null;
  // `disabled` would remove the focus.
  const unlessBusy = (action: () => unknown) => () => {
    if (!busy) void action();
  };
  return (
    <div className="actions">
      {isInProgress(phase) && (
        <button
          className="button quiet"
          type="button"
          aria-disabled={busy}
          onClick={unlessBusy(cancel)}
        >
          Cancel
        </button>
      )}
      {phase === "failed" && job?.errorCode === "FILE_NOT_FOUND" && view.fileIds.length > 1 && (
        <button className="button" type="button" aria-disabled={busy} onClick={unlessBusy(onSkip)}>
          Continue without it
        </button>
      )}
      {phase === "failed" && (
        <button
          className="button"
          type="button"
          aria-disabled={busy}
          onClick={unlessBusy(view.retry)}
        >
          <Icon name="retry" />
          Try again
        </button>
      )}
      {phase === "ready" && (
        <ArchiveLink view={view} className="button primary">
          <Icon name="download" />
          Save file
        </ArchiveLink>
      )}
      <span className="actions-end">
        {children}
        {!isInProgress(phase) && (
          <button
            className="icon-button"
            type="button"
            aria-label="Remove from this list"
            title="Remove from this list"
            onClick={onRemove}
          >
            <Icon name="close" />
          </button>
        )}
      </span>
    </div>
  );
}

interface DisclosureProps {
  open: boolean;
  controls: string;
  onChange(open: boolean): void;
}

function Disclosure({ open, controls, onChange }: DisclosureProps) {
  return (
    <button
      className="icon-button disclosure"
      type="button"
      aria-label="Details"
      title="Details"
      aria-expanded={open}
      aria-controls={controls}
      onClick={() => onChange(!open)}
    >
      <Icon name="chevron" />
    </button>
  );
}
