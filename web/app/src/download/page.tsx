import { useDownloads } from "@longhaul/react";
import { useCallback } from "react";
import "../styles/cards.css";
import "../styles/composer.css";
import "../styles/downloads.css";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { DownloadCard, type DownloadCardProps } from "./card.js";
import { Composer } from "./composer.js";
import { useTitle } from "./use-title.js";

/** The page to start, watch and save downloads. */
export default function DownloadPage() {
  const { downloads, start, remove } = useDownloads();
  const report = useTitle();
  const { target, within } = useKeptFocus<HTMLHeadingElement>();
  const startAndShow = useCallback<typeof start>(
    async (fileIds, options) => {
      const jobId = await start(fileIds, options);
      requestAnimationFrame(() =>
        document.getElementById(jobId)?.scrollIntoView({ block: "nearest" }),
      );
      return jobId;
    },
    [start],
  );
  const restart: DownloadCardProps["onRestart"] = (jobId, fileIds, options) => {
    startAndShow(fileIds, options).then(
      () => remove(jobId),
      () => undefined,
    );
  };
  return (
    <div className="downloads">
      <section className="intro">
        <h1>Many files, one archive</h1>
        <p className="muted">
          Select files by number. You can close this page: the download continues, and the archive
          is here when you come back.
        </p>
        <Composer start={startAndShow} />
      </section>
      <section className="list" aria-labelledby="list-title" {...within}>
        <h2 id="list-title" ref={target} tabIndex={-1}>
          Your downloads
        </h2>
        {downloads.length ? (
          <ul>
            {downloads.map(({ jobId, fileIds, startedAt }) => (
              <DownloadCard
                key={jobId}
                jobId={jobId}
                fileIds={fileIds}
                startedAt={startedAt}
                onRemove={remove}
                onRestart={restart}
                onProgress={report}
              />
            ))}
          </ul>
        ) : (
          <NoDownloads />
        )}
      </section>
    </div>
  );
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
