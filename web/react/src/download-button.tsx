import type { StartOptions } from "@longhaul/client";
import { useEffect, useId, useRef } from "react";
import { ArchiveLink } from "./archive-link.js";
import { ENGLISH, type Labels } from "./labels.js";
import { isInProgress } from "./phase.js";
import { Announcement, Progress } from "./progress.js";
import { type DownloadView, useDownload } from "./use-download.js";
import { useDownloads } from "./use-downloads.js";

export interface DownloadButtonProps {
  fileIds: readonly number[];
  options?: StartOptions;
  /** Continue a download of the same files that this browser started, for example before a reload. */
  resume?: boolean;
  labels?: Partial<Labels>;
  className?: string;
}

/**
 * A button that starts a download, shows its progress, and becomes the link to the archive.
 *
 * Style it with its classes (`lh-…`), its `data-phase`, or the custom properties of `button.css`.
 */
export function DownloadButton(props: DownloadButtonProps) {
  const { fileIds, options, resume = true, className = "" } = props;
  const labels = { ...ENGLISH, ...props.labels };
  const { downloads } = useDownloads();
  const idList = fileIds.join();
  const existing = resume ? downloads.find((entry) => entry.fileIds.join() === idList) : undefined;
  const view = useDownload(existing?.jobId ?? null);
  const status = view.requestError?.message ?? labels.status(view);
  const statusId = useId();
  const start = () => {
    if (view.phase === "failed") return void view.retry();
    view.dismiss();
    void view.start(fileIds, options);
  };
  return (
    <div className={`lh-download ${className}`} data-phase={view.phase} aria-busy={isBusy(view)}>
      <div className="lh-row">
        <Primary view={view} labels={labels} describedBy={statusId} onStart={start} />
        {isInProgress(view.phase) && view.jobId && (
          <button
            className="lh-cancel"
            type="button"
            disabled={view.pending === "cancel"}
            onClick={() => void view.cancel()}
          >
            {labels.cancel}
          </button>
        )}
      </div>
      {isInProgress(view.phase) && (
        <Progress
          value={view.phase === "processing" ? (view.job?.progress ?? 0) : null}
          label={labels.progress}
          text={status}
          phase={view.phase}
        />
      )}
      <span id={statusId} className="lh-status" aria-hidden>
        {status}
      </span>
      <Announcement phase={view.phase} progress={view.job?.progress ?? 0} text={status} />
    </div>
  );
}

interface PrimaryProps {
  view: DownloadView;
  labels: Labels;
  describedBy: string;
  onStart: () => void;
}

/** The main control. It keeps the keyboard focus in all phases. */
function Primary({ view, labels, describedBy, onStart }: PrimaryProps) {
  const link = useRef<HTMLAnchorElement>(null);
  const hadFocus = useRef(false);
  const ready = view.phase === "ready";
  useEffect(() => {
    if (ready && hadFocus.current) link.current?.focus();
  }, [ready]);
  if (ready) {
    return (
      <ArchiveLink view={view} className="lh-button" ref={link}>
        {labels.ready}
      </ArchiveLink>
    );
  }
  const busy = isBusy(view);
  return (
    <button
      className="lh-button"
      type="button"
      // `disabled` would remove the focus.
      aria-disabled={busy}
      aria-describedby={describedBy}
      onFocus={() => {
        hadFocus.current = true;
      }}
      onBlur={() => {
        hadFocus.current = false;
      }}
      onClick={() => {
        if (!busy) onStart();
      }}
    >
      {view.phase === "failed" ? labels.again : labels.download}
    </button>
  );
}

function isBusy({ phase, pending }: DownloadView): boolean {
  return isInProgress(phase) || pending !== null;
}
