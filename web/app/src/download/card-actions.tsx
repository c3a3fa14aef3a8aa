import type { StartOptions } from "@longhaul/client";
import { ArchiveLink, type DownloadView, isInProgress, useLonghaul } from "@longhaul/react";
import { Icon } from "../ui/icons.js";
import { failingFile } from "./status.js";
import type { Entry } from "./title.js";

export interface ActionsProps {
  view: DownloadView;
  /** The download's title, which every button names. */
  name: string;
  entry: Entry;
  onRemove?: (() => void) | undefined;
  onReplace(fileIds: readonly number[], options?: StartOptions): Promise<void>;
  details: { open: boolean; id: string; onChange(open: boolean): void };
}

/** The buttons of a card that fit the state of its download. */
export function Actions({ view, name, entry, onRemove, onReplace, details }: ActionsProps) {
  const { phase, pending, job } = view;
  const longhaul = useLonghaul();
  const busy = pending !== null;
  const button = (text: string, action: () => unknown, look = "", icon?: "retry") => (
    <button
      className={`button ${look}`}
      type="button"
      aria-label={`${text}, ${name}`}
      // `disabled` would remove the focus.
      aria-disabled={busy}
      onClick={() => {
        if (!busy) void action();
      }}
    >
      {icon && <Icon name={icon} />}
      {text}
    </button>
  );
  const fileIds = async () => {
    if (entry.fileIds.length || !view.jobId) return entry.fileIds;
    return (await longhaul.open(view.jobId).allFiles()).map(({ file_id }) => file_id);
  };
  const restart = async () => onReplace(await fileIds());
  const skip = async () => onReplace(await availableFiles(), { onMissing: "skip" });
  /** Return the requested files without those that are missing or can't be fetched. */
  const availableFiles = async () => {
    const files = view.jobId ? await longhaul.open(view.jobId).allFiles() : [];
    const failing = job && failingFile(job);
    const bad = (state: string) => state === "missing" || state === "failed";
    return files
      .filter(({ file_id, state }) => !bad(state) && file_id !== failing)
      .map(({ file_id }) => file_id);
  };
  const isSkippable = (job?.totalFiles ?? 0) > 1 && isAboutOneFile(view);
  return (
    <div className="actions">
      {isSkippable && button("Continue without it", skip)}
      {isInProgress(phase) && button("Cancel", view.cancel, "quiet")}
      {phase === "failed" && job?.retryable && button("Try again", view.retry, "", "retry")}
      {phase === "ready" &&
        job?.missingFiles === 1 &&
        button("Try the missing file again", view.retry)}
      {phase === "ready" &&
        (job?.missingFiles ?? 0) > 1 &&
        button("Try the missing files again", view.retry)}
      {(phase === "expired" || phase === "unknown") &&
        (entry.fileIds.length > 0 || job !== null) &&
        button("Start again", restart, "", "retry")}
      {phase === "ready" && (
        <ArchiveLink view={view} className="button primary" label={`Save file, ${name}`}>
          <Icon name="download" />
          Save file
        </ArchiveLink>
      )}
      <span className="actions-end">
        <IconButton
          label={`Details, ${name}`}
          icon="chevron"
          onClick={() => details.onChange(!details.open)}
          expands={details}
        />
        {!isInProgress(phase) && onRemove && (
          <IconButton label={`Remove from this list, ${name}`} icon="close" onClick={onRemove} />
        )}
      </span>
    </div>
  );
}

/** Return whether one file is the reason that the download waits or has failed. */
function isAboutOneFile({ phase, job }: DownloadView): boolean {
  if (!job) return false;
  if (phase === "queued") return job.retryAt !== null && failingFile(job) !== null;
  return phase === "failed" && (job.errorCode === "FILE_NOT_FOUND" || failingFile(job) !== null);
}

interface IconButtonProps {
  label: string;
  icon: "chevron" | "close";
  onClick(): void;
  expands?: { open: boolean; id: string };
}

function IconButton({ label, icon, onClick, expands }: IconButtonProps) {
  return (
    <button
      className={`icon-button ${expands ? "disclosure" : ""}`}
      type="button"
      aria-label={label}
      title={label}
      aria-expanded={expands?.open}
      aria-controls={expands?.id}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
