import type { RequestedFile, StartOptions } from "@longhaul/client";
import { isInProgress, useDownloads, usePhases } from "@longhaul/react";
import { useCallback, useMemo, useState } from "react";
import "../styles/cards.css";
import "../styles/composer.css";
import "../styles/downloads.css";
import { formatCount } from "../ui/format.js";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { Announcer } from "./announcer.js";
import { DownloadCard } from "./card.js";
import { Composer } from "./composer.js";
import { NotifyButton } from "./notify.js";
import { useRemovedJobs } from "./removed-jobs.js";
import { SignInForm } from "./sign-in-form.js";
import type { Entry } from "./title.js";
import { useAccount } from "./use-account.js";
import { useTitle } from "./use-title.js";

/** The page to start, watch and save downloads. */
export default function DownloadPage() {
  const account = useAccount();
  const { downloads, start, cancel, remove, restore } = useDownloads();
  const [autoSaved, setAutoSaved] = useState<ReadonlySet<string>>(new Set());
  const [removed, setRemoved] = useState<readonly Entry[]>([]);
  const removedJobs = useRemovedJobs();
  const entries = useEntries(downloads, account.jobs, removedJobs.ids);
  const phases = usePhases(entries.map(({ jobId }) => jobId));
  useTitle(phases);
  const { target, within } = useKeptFocus<HTMLHeadingElement>();

  const startAndShow = useCallback(
    async (
      files: readonly RequestedFile[],
      options: StartOptions,
      { firstFile, autoSave = false }: { firstFile?: string | undefined; autoSave?: boolean } = {},
    ) => {
      const jobId = await start(files, options, firstFile);
      if (autoSave) setAutoSaved((ids) => new Set(ids).add(jobId));
      requestAnimationFrame(() =>
        document.getElementById(jobId)?.scrollIntoView({ block: "nearest" }),
      );
      return jobId;
    },
    [start],
  );
  const replace = async (
    entry: Entry,
    files: readonly RequestedFile[],
    changes: StartOptions = {},
  ) => {
    const jobId = await startAndShow(files, { ...entry.options, ...changes });
    // The API returns the same job if an identical one is still running.
    if (jobId === entry.jobId) return;
    if (isInProgress(phases.get(entry.jobId)?.phase ?? "unknown")) await cancel(entry.jobId);
    removeFromList([entry]);
  };
  const removeFromList = (entries: readonly Entry[]) => {
    for (const { jobId } of entries) remove(jobId);
    removedJobs.add(entries.map(({ jobId }) => jobId));
  };
  const removeAll = (entries: readonly Entry[]) => {
    removeFromList(entries);
    setRemoved(entries);
  };
  const undo = () => {
    for (const entry of removed) restore({ ...entry, fileIds: [...entry.fileIds] });
    removedJobs.delete(removed.map(({ jobId }) => jobId));
    setRemoved([]);
  };
  const finished = downloads.filter(({ jobId }) => {
    const state = phases.get(jobId);
    return state && !isInProgress(state.phase);
  });

  return (
    <Announcer>
      <div className="downloads">
        <section className="intro">
          <h1>Many files, one archive</h1>
          <p className="muted">
            Select files by number. You can close this page: the download continues, and the archive
            is here when you come back.
          </p>
          {account.needsSignIn ? <SignInForm /> : <Composer start={startAndShow} />}
        </section>
        <section className="list" aria-labelledby="list-title" {...within}>
          <div className="list-head">
            <h2 id="list-title" ref={target} tabIndex={-1}>
              Your downloads
            </h2>
            {entries.length > 0 && <NotifyButton />}
            {finished.length > 1 && (
              <button className="link small" type="button" onClick={() => removeAll(finished)}>
                Clear finished
              </button>
            )}
          </div>
          {removed.length > 0 && (
            <p className="notice" data-tone="neutral">
              <span>Removed {formatCount(removed.length, "download", "downloads")}.</span>
              <button className="link" type="button" onClick={undo}>
                Undo
              </button>
            </p>
          )}
          {entries.length ? (
            <ul>
              {entries.map((entry) => (
                <DownloadCard
                  key={entry.jobId}
                  entry={entry}
                  autoSave={autoSaved.has(entry.jobId)}
                  onRemove={downloads.includes(entry) ? (entry) => removeAll([entry]) : undefined}
                  onReplace={replace}
                />
              ))}
            </ul>
          ) : (
            <NoDownloads />
          )}
        </section>
      </div>
    </Announcer>
  );
}

type Downloads = ReturnType<typeof useDownloads>["downloads"];
type Jobs = ReturnType<typeof useAccount>["jobs"];

/** Return this browser's downloads and the account's others that were not removed, newest first. */
function useEntries(
  downloads: Downloads,
  jobs: Jobs,
  removed: ReadonlySet<string>,
): readonly Entry[] & Downloads {
  return useMemo(() => {
    const known = new Set(downloads.map(({ jobId }) => jobId));
    const others = jobs
      .filter(({ jobId }) => !known.has(jobId) && !removed.has(jobId))
      .map(({ jobId, createdAt }) => ({ jobId, fileIds: [], startedAt: createdAt }));
    return [...downloads, ...others].sort((a, b) => b.startedAt.localeCompare(a.startedAt));
  }, [downloads, jobs, removed]);
}

function NoDownloads() {
  return (
    <div className="nothing">
      <svg viewBox="0 0 96 64" aria-hidden="true" focusable="false">
        <rect x="6" y="30" width="24" height="24" rx="5" />
        <rect x="36" y="30" width="24" height="24" rx="5" />
        <rect x="66" y="30" width="24" height="24" rx="5" />
        <path d="M48 6v14m0 0-6-6m6 6 6-6" />
      </svg>
      <p>No downloads yet. Downloads that you start appear here.</p>
    </div>
  );
}
