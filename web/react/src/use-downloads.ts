import type { StartOptions, StoredDownload } from "@longhaul/client";
import { useCallback, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";

const NONE: readonly StoredDownload[] = [];

export interface Downloads {
  /** The downloads that this browser started, newest first, also before a reload or in other tabs. */
  downloads: readonly StoredDownload[];
  /** Start a download; returns the job's id. Throws `ApiProblem` or `Unreachable`. */
  start(fileIds: readonly number[], options?: StartOptions): Promise<string>;
  remove(jobId: string): void;
}

/** List the downloads of this browser; watch each one with `useDownload(jobId)`. */
export function useDownloads(): Downloads {
  const longhaul = useLonghaul();
  const downloads = useSyncExternalStore(
    longhaul.onDownloadsChange,
    () => longhaul.downloads(),
    () => NONE,
  );
  const start = useCallback(
    async (fileIds: readonly number[], options?: StartOptions) =>
      (await longhaul.start(fileIds, options)).jobId,
    [longhaul],
  );
  const remove = useCallback((jobId: string) => longhaul.remove(jobId), [longhaul]);
  return { downloads, start, remove };
}
