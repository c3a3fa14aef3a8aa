import type { StoredDownload } from "longhaul-web/client";
import { useDownload, useDownloads, usePhases } from "longhaul-web/react";

export function Downloads() {
  const { downloads, remove } = useDownloads();
  const phases = usePhases(downloads.map(({ jobId }) => jobId));
  const ready = [...phases.values()].filter(({ phase }) => phase === "ready").length;
  return (
    <>
      <h2>{`Downloads (${ready} ready)`}</h2>
      <ul>
        {downloads.map((entry) => (
          <Row key={entry.jobId} entry={entry} onRemove={() => remove(entry.jobId)} />
        ))}
      </ul>
    </>
  );
}

function Row({ entry, onRemove }: { entry: StoredDownload; onRemove: () => void }) {
  const { phase, job, requestError, cancel, retry, save } = useDownload(entry.jobId);
  const button = (label: string, onClick: () => void) => (
    <button type="button" onClick={onClick}>
      {label}
    </button>
  );
  return (
    <li>
      {`${job?.fileName ?? `${entry.fileIds.length} files`}: ${phase} ${job?.progress ?? 0}% `}
      {(phase === "queued" || phase === "processing") && button("Cancel", cancel)}
      {phase === "failed" && job?.retryable && button("Try again", retry)}
      {phase === "ready" && button("Save", save)}
      {button("Remove", onRemove)}
      {requestError && <span role="alert">{requestError.message}</span>}
    </li>
  );
}
