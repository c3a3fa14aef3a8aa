import type { StartOptions } from "@longhaul/client";
import { useEffect, useId, useRef } from "react";
import { ArchiveLink } from "./archive-link.js";
import { isUnderWay } from "./phase.js";
import { Announcement, Progress } from "./progress.js";
import { type DownloadView, useDownload } from "./use-download.js";
import { useDownloads } from "./use-downloads.js";
import { ENGLISH, type Words } from "./words.js";

export interface DownloadButtonProps {
  fileIds: readonly number[];
  options?: StartOptions;
  /** Follow a download of the same files that this browser started before, also after a reload. */
  resume?: boolean;
  words?: Partial<Words>;
  className?: string;
}

/**
 * A button that starts a download, shows how it goes, and ends as the link to the archive.
 *
 * Style it by its classes (`lh-…`), its `data-phase`, or the custom properties of `button.css`.
 */
export function DownloadButton(props: DownloadButtonProps) {
  const { fileIds, options, resume = true, className = "" } = props;
  const words = { ...ENGLISH, ...props.words };
  const { downloads } = useDownloads();
  const same = fileIds.join();
  const before = resume ? downloads.find((entry) => entry.fileIds.join() === same) : undefined;
  const view = useDownload(before?.jobId ?? null);
  const status = view.refusal?.message ?? words.status(view);
  const statusId = useId();
  const begin = () => {
    if (view.phase === "failed") return void view.retry();
    view.dismiss();
    void view.start(fileIds, options);
  };
  return (
    <div className={`lh-download ${className}`} data-phase={view.phase} aria-busy={isBusy(view)}>
      <div className="lh-row">
        <Primary view={view} words={words} describedBy={statusId} onBegin={begin} />
        {isUnderWay(view.phase) && view.jobId && (
          <button
            className="lh-cancel"
            type="button"
            disabled={view.pending === "cancel"}
            onClick={() => void view.cancel()}
          >
            {words.cancel}
          </button>
        )}
      </div>
      {isUnderWay(view.phase) && (
        <Progress
          value={view.phase === "processing" ? (view.job?.progress ?? 0) : null}
          label={words.progress}
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
  words: Words;
  describedBy: string;
  onBegin: () => void;
}

/** One control in one place: it keeps the keyboard's focus through all its phases. */
function Primary({ view, words, describedBy, onBegin }: PrimaryProps) {
  const link = useRef<HTMLAnchorElement>(null);
  const hadFocus = useRef(false);
  const ready = view.phase === "ready";
  useEffect(() => {
    if (ready && hadFocus.current) link.current?.focus();
  }, [ready]);
  if (ready) {
    return (
      <ArchiveLink view={view} className="lh-button" ref={link}>
        {words.ready}
      </ArchiveLink>
    );
  }
  const busy = isBusy(view);
  return (
    <button
      className="lh-button"
      type="button"
      // Not `disabled`: that would take the focus away.
      aria-disabled={busy}
      aria-describedby={describedBy}
      onFocus={() => {
        hadFocus.current = true;
      }}
      onBlur={() => {
        hadFocus.current = false;
      }}
      onClick={() => {
        if (!busy) onBegin();
      }}
    >
      {view.phase === "failed" ? words.again : words.download}
    </button>
  );
}

function isBusy({ phase, pending }: DownloadView): boolean {
  return isUnderWay(phase) || pending !== null;
}
