import { isInProgress, type usePhases } from "@longhaul/react";
import { useEffect, useRef } from "react";

const NAME = "Longhaul";
const TITLE = `Long-running downloads · ${NAME}`;

/**
 * Show the progress of all downloads in the page's title, so that it is visible in other tabs, and
 * what finished while the page was hidden.
 */
export function useTitle(downloads: ReturnType<typeof usePhases>): void {
  const wasInProgress = useRef(false);
  useEffect(() => {
    const running = [...downloads.values()].filter(({ phase }) => isInProgress(phase));
    const sum = running.reduce((sum, { progress }) => sum + progress, 0);
    const justFinished = wasInProgress.current && !running.length;
    wasInProgress.current = running.length > 0;
    if (running.length) document.title = `${Math.floor(sum / running.length)}% · ${NAME}`;
    else document.title = justFinished && document.hidden ? `✓ Done · ${NAME}` : TITLE;
  }, [downloads]);
  useEffect(() => {
    const restore = () => {
      if (!document.hidden && !wasInProgress.current) document.title = TITLE;
    };
    document.addEventListener("visibilitychange", restore);
    return () => {
      document.removeEventListener("visibilitychange", restore);
      document.title = TITLE;
    };
  }, []);
}
