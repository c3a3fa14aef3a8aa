import { useDownloads } from "@longhaul/react";
import { useCallback } from "react";
import "../styles/cards.css";
import "../styles/composer.css";
import "../styles/downloads.css";
import { useKeptFocus } from "../ui/use-kept-focus.js";
import { DownloadCard, type DownloadCardProps } from "./card.js";
import { Composer } from "./composer.js";
import { useTitle } from "./use-title.js";

/** Pick files, start, watch, take away. */
export default function DownloadPage() {
  const { downloads, start, forget } = useDownloads();
  const report = useTitle();
  const { target, within } = useKeptFocus<HTMLHeadingElement>();
  const begin = useCallback<typeof start>(
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
    begin(fileIds, options).then(
      () => forget(jobId),
      () => undefined,
    );
  };
  return (
    <div className="downloads">
      <section className="intro">
        <h1>Many files, one archive</h1>
        <p className="muted">
          Pick files by number. You may close this page meanwhile: the work goes on, and the archive
          is here when you come back.
        </p>
        <Composer start={begin} />
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
                onForget={forget}
                onRestart={restart}
                onProgress={report}
              />
            ))}
          </ul>
        ) : (
          <Nothing />
        )}
      </section>
    </div>
  );
}

function Nothing() {
  return (
    <div className="nothing">
      <svg viewBox="0 0 96 64" aria-hidden="true" focusable="false">
        <rect x="6" y="30" width="24" height="24" rx="5" />
        <rect x="36" y="30" width="24" height="24" rx="5" />
        <rect x="66" y="30" width="24" height="24" rx="5" />
        <path d="M48 6v14m0 0-6-6m6 6 6-6" />
      </svg>
      <p>Nothing yet. What you start appears here.</p>
    </div>
  );
}
