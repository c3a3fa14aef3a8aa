import { useCallback, useEffect, useRef } from "react";

/** Reports the progress of a download: 0 to 100, or null if it is not in progress. */
export type ReportProgress = (jobId: string, progress: number | null) => void;

const NAME = "Longhaul";
const TITLE = `Long-running downloads · ${NAME}`;

/** Show the progress of all downloads in the page's title, so that it is visible in other tabs. */
export function useTitle(): ReportProgress {
  const inProgress = useRef(new Map<string, number>());
  useEffect(() => {
    return () => {
      document.title = TITLE;
    };
  }, []);
  return useCallback((jobId, progress) => {
    if (progress === null) inProgress.current.delete(jobId);
    else inProgress.current.set(jobId, progress);
    const all = [...inProgress.current.values()];
    const mean = Math.floor(all.reduce((sum, progress) => sum + progress, 0) / all.length);
    document.title = all.length ? `${mean}% · ${NAME}` : TITLE;
  }, []);
}
