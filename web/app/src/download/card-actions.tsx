import type { FileReport, RequestedFile, StartOptions } from "@longhaul/client";
import { ArchiveLink, type DownloadView, isInProgress, useLonghaul } from "@longhaul/react";
import { Icon } from "../ui/icons.js";
import { failingFile } from "./status.js";
import type { Entry } from "./title.js";

/** The request to start another download instead of this one. */
export interface Replacement {
  pending: boolean;
  error: Error | null;
  request(call: () => Promise<void>): Promise<void>;
}

export interface ActionsProps {
  view: DownloadView;
  /** The download's title, which every button names. */
  name: string;
  entry: Entry;
  onRemove?: (() => void) | undefined;
  replacement: Replacement;
  onReplace(files: readonly RequestedFile[], changes?: StartOptions): Promise<void>;
  details: { open: boolean; id: string; onChange(open: boolean): void };
}

/** The buttons of a card that fit the state of its download. */
export function Actions(props: ActionsProps) {
  const { view, name, entry, onRemove, replacement, onReplace, details } = props;
  const { phase, pending, job } = view;
  const longhaul = useLonghaul();
  const busy = pending !== null || replacement.pending;
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
  const reports = async () => (view.jobId ? longhaul.open(view.jobId).allFiles() : []);
  const restart = () =>
    replacement.request(async () => {
      const known = filesOf(entry);
      await onReplace(known.length ? known : (await reports()).map(requestOf));
    });
  const skip = () =>
    replacement.request(async () => {
      const files = await reports();
      const failing = job && failingFile(job);
      const isBad = ({ file_id, state }: FileReport) =>
        state === "missing" || state === "failed" || file_id === failing;
      const bad = new Set(files.filter(isBad).map(({ file_id }) => file_id));
      const known = filesOf(entry);
      const requested = known.length ? known : files.map(requestOf);
      await onReplace(
        requested.filter((file) => !bad.has(typeof file === "number" ? file : file.file_id)),
        { onMissing: "skip" },
      );
    });
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

/** Return the files as this browser requested them; none if another one started the download. */
function filesOf({ files, fileIds }: Entry): readonly RequestedFile[] {
  return files ?? fileIds;
}

/** Return the request of a reported file, with its path if it is in a folder. */
function requestOf({ file_id, path }: FileReport): RequestedFile {
  return path?.includes("/") ? { file_id, path } : file_id;
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
