import { JobUnsuccessful, type RequestedFile, type StartOptions } from "@longhaul/client";
import {
  type DownloadView,
  isInProgress,
  Progress,
  useDownload,
  useOnChange,
  useRequest,
} from "@longhaul/react";
import { useCallback, useId, useState } from "react";
import { ConnectionBadge } from "../ui/connection-badge.js";
import { FileName } from "../ui/file-name.js";
import { Icon } from "../ui/icons.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { useAnnounce } from "./announcer.js";
import { Actions, type Replacement } from "./card-actions.js";
import { Details, MissingFiles } from "./details.js";
import { notify } from "./notify.js";
import { LABELS, subtitleOf, useStatus } from "./status.js";
import { type Entry, textOf, useTitleOf } from "./title.js";

export interface DownloadCardProps {
  entry: Entry;
  /** Save the archive as soon as it is ready. */
  autoSave: boolean;
  /** Missing for a download of another browser. */
  onRemove?: ((entry: Entry) => void) | undefined;
  /** Start a download of these files instead of this one, with its options and these changes. */
  onReplace(entry: Entry, files: readonly RequestedFile[], changes?: StartOptions): Promise<void>;
}

/** A download in the list. */
export function DownloadCard({ entry, autoSave, onRemove, onReplace }: DownloadCardProps) {
  const view = useDownload({
    jobId: entry.jobId,
    autoSave,
    onSuccess: () => notify("Ready", name),
    onError: (error) => {
      if (error instanceof JobUnsuccessful) notify("The download failed", name);
    },
  });
  const replacement = useReplacement(view);
  const error = replacement.error ?? view.requestError;
  const title = useTitleOf(view, entry);
  const name = textOf(title);
  const status = useStatus(view);
  const announce = useAnnounce();
  // The name is not part of what changes: it may become known after the event.
  useOnChange(
    error?.message ?? LABELS.announcement(view),
    view.phase === "starting" && view.pending === null,
    (event) => announce(`${name}: ${event}`),
  );
  const titleId = useId();
  const detailsId = useId();
  const [open, setOpen] = useState(false);
  const { target, within } = useKeptFocus<HTMLHeadingElement>();
  const inProgress = isInProgress(view.phase);
  return (
    <li>
      <article
        id={entry.jobId}
        className="card download"
        data-phase={view.phase}
        aria-labelledby={titleId}
        {...within}
      >
        <div className="download-head">
          <div className="download-what">
            <h3 id={titleId} ref={target} tabIndex={-1}>
              <FileName name={title.name} /> {title.more && <span>{title.more}</span>}
            </h3>
            <p className="small muted">{subtitleOf(view, entry)}</p>
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
            value={view.phase === "processing" ? (view.job?.progress ?? 0) : null}
            label={`Progress of ${name}`}
            text={status}
            phase={view.phase}
          />
        )}
        <div className="download-foot">
          <p className="download-status">
            {view.phase === "ready" && <Icon name={view.job?.missingFiles ? "alert" : "check"} />}
            {view.phase === "failed" && <Icon name="alert" />}
            <span>{status}</span>
          </p>
          <Actions
            view={view}
            name={name}
            entry={entry}
            onRemove={onRemove && (() => onRemove(entry))}
            replacement={replacement}
            onReplace={(...files) => onReplace(entry, ...files)}
            details={{ open, id: detailsId, onChange: setOpen }}
          />
        </div>
        {error && (
          <p className="notice" data-tone="danger">
            {error.message}
          </p>
        )}
        {view.job && view.phase === "ready" && Boolean(view.job.missingFiles) && (
          <MissingFiles job={view.job} />
        )}
        <div id={detailsId} hidden={!open}>
          {open && view.job && <Details job={view.job} availability={LABELS.availability(view)} />}
        </div>
      </article>
    </li>
  );
}

/**
 * Track the request to start another download instead of this one, and its error until the download
 * changes or the user requests something else.
 */
function useReplacement(view: DownloadView): Replacement {
  const { pending, requestError, request, setError } = useRequest<"replace">();
  const clear = useCallback(() => setError(null), [setError]);
  useOnChange(`${view.phase} ${view.pending}`, false, clear);
  return {
    pending: pending !== null,
    error: requestError,
    request: (call) => request("replace", call),
  };
}
