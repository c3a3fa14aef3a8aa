import { useCallback, useEffect, useRef } from "react";

/** Says how a download goes: 0 to 100, or null when it is not under way. */
export type ReportProgress = (jobId: string, progress: number | null) => void;

const TITLE = "Longhaul";

/** Shows the progress of all downloads in the page's title, for those who look at another tab. */
export function useTitle(): ReportProgress {
  const underWay = useRef(new Map<string, number>());
  useEffect(() => {
    return () => {
      document.title = TITLE;
    };
  }, []);
  return useCallback((jobId, progress) => {
    if (progress === null) underWay.current.delete(jobId);
    else underWay.current.set(jobId, progress);
    const all = [...underWay.current.values()];
    const mean = Math.floor(all.reduce((sum, one) => sum + one, 0) / all.length);
    document.title = all.length ? `${mean} % · ${TITLE}` : TITLE;
  }, []);
}
