import type { StartOptions } from "@longhaul/client";
import { type Ref, useEffect, useId, useRef } from "react";
import { ArchiveLink } from "./archive-link.js";
import { ENGLISH, type Labels } from "./labels.js";
import { isInProgress } from "./phase.js";
import { Announcement, Progress } from "./progress.js";
import { type DownloadView, type UseDownloadOptions, useDownload } from "./use-download.js";
import { useDownloads } from "./use-downloads.js";

export interface DownloadButtonProps
  extends Pick<
    UseDownloadOptions,
    "autoStart" | "autoSave" | "onProgress" | "onSuccess" | "onError"
  > {
  fileIds: readonly number[];
  options?: StartOptions;
  /** Continue a download of the same files that this browser started, for example before a reload. */
  resume?: boolean;
  /** A language's pack such as `GERMAN`, or single texts. */
  labels?: Partial<Labels>;
  className?: string;
}

/**
 * A button that starts a download, shows its progress, and becomes the link to the archive.
 *
 * Style it with its classes (`lh-…`), its `data-phase`, or the custom properties of `button.css`.
 */
export function DownloadButton(props: DownloadButtonProps) {
  const { fileIds, options = {}, resume = true, className = "", ...rest } = props;
  const labels = { ...ENGLISH, ...props.labels };
  const { downloads } = useDownloads();
  const idList = fileIds.join();
  const existing = resume ? downloads.find((entry) => entry.fileIds.join() === idList) : undefined;
  const jobId = existing?.jobId ?? null;
  const view = useDownload({ ...rest, jobId, fileIds, startOptions: options });
  const status = view.requestError?.message ?? labels.status(view);
  const statusId = useId();
  const primary = useRef<HTMLButtonElement>(null);
  const canRetry = view.phase === "failed" && view.job?.retryable !== false;
  const start = () => {
    if (canRetry) return void view.retry();
    view.dismiss();
    void view.start(fileIds, options);
  };
  const cancel = () => {
    // The button that has the focus is about to disappear.
    primary.current?.focus();
    void view.cancel();
  };
  return (
    <div className={`lh-download ${className}`} data-phase={view.phase}>
      <div className="lh-row">
        <Primary
          view={view}
          text={primaryText(view, labels, canRetry)}
          describedBy={statusId}
          onStart={start}
          buttonRef={primary}
        />
        {isInProgress(view.phase) && view.jobId && (
          <button
            className="lh-cancel"
            type="button"
            disabled={view.pending === "cancel"}
            onClick={cancel}
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
        {[status, labels.availability(view)].filter(Boolean).join(" · ")}
      </span>
      <Announcement
        text={view.requestError?.message ?? labels.announcement(view)}
        isInitial={view.phase === "starting" && view.pending === null}
      />
    </div>
  );
}

function primaryText({ phase }: DownloadView, labels: Labels, canRetry: boolean): string {
  if (phase === "ready") return labels.ready;
  if (canRetry) return labels.again;
  return phase === "expired" || phase === "unknown" ? labels.restart : labels.download;
}

interface PrimaryProps {
  view: DownloadView;
  text: string;
  describedBy: string;
  onStart: () => void;
  buttonRef: Ref<HTMLButtonElement>;
}

/** The main control. It keeps the keyboard focus in all phases. */
function Primary({ view, text, describedBy, onStart, buttonRef }: PrimaryProps) {
  const link = useRef<HTMLAnchorElement>(null);
  const hadFocus = useRef(false);
  const ready = view.phase === "ready";
  useEffect(() => {
    if (ready && hadFocus.current) link.current?.focus();
  }, [ready]);
  if (ready) {
    return (
      <ArchiveLink view={view} className="lh-button" describedBy={describedBy} linkRef={link}>
        {text}
      </ArchiveLink>
    );
  }
  const busy = isBusy(view);
  return (
    <button
      className="lh-button"
      type="button"
      ref={buttonRef}
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
      {text}
    </button>
  );
}

function isBusy({ phase, pending }: DownloadView): boolean {
  return isInProgress(phase) || pending !== null;
}
