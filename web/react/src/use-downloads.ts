import type { Remembered, StartOptions } from "@longhaul/client";
import { useCallback, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";

const NONE: readonly Remembered[] = [];

export interface Downloads {
  /** What this browser started, newest first, also before a reload and in other tabs. */
  downloads: readonly Remembered[];
  /** Returns the id of the job. Throws `ApiProblem` or `Unreachable`. */
  start(fileIds: readonly number[], options?: StartOptions): Promise<string>;
  forget(jobId: string): void;
}

/** The downloads of this browser; watch each with `useDownload(jobId)`. */
export function useDownloads(): Downloads {
  const longhaul = useLonghaul();
  const downloads = useSyncExternalStore(
    longhaul.onRemembered,
    () => longhaul.remembered(),
    () => NONE,
  );
  const start = useCallback(
    async (fileIds: readonly number[], options?: StartOptions) =>
      (await longhaul.start(fileIds, options)).jobId,
    [longhaul],
  );
  const forget = useCallback((jobId: string) => longhaul.forget(jobId), [longhaul]);
  return { downloads, start, forget };
}
