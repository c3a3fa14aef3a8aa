import type { Download, RequestedFile, StartOptions, StoredDownload } from "@longhaul/client";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";
import { type Phase, phaseOf } from "./phase.js";

const NONE: readonly StoredDownload[] = [];

export interface Downloads {
  /** The downloads that this browser started, newest first, also before a reload or in other tabs. */
  downloads: readonly StoredDownload[];
  /**
   * Start a download; returns the job's id. Throws `ApiProblem` or `Unreachable`. `firstFile` is the
   * name of the first file, to show in the list.
   */
  start(
    fileIds: readonly RequestedFile[],
    options?: StartOptions,
    firstFile?: string,
  ): Promise<string>;
  cancel(jobId: string): Promise<void>;
  retry(jobId: string): Promise<void>;
  /** Remove a download from the list. This does not cancel it. */
  remove(jobId: string): void;
  /** Undo `remove`. */
  restore(entry: StoredDownload): void;
}

/**
 * List the downloads of this browser. Watch each one with `useDownload(jobId)`, or all of them with
 * `usePhases`.
 */
export function useDownloads(): Downloads {
  const longhaul = useLonghaul();
  const downloads = useSyncExternalStore(
    longhaul.onDownloadsChange,
    () => longhaul.downloads(),
    () => NONE,
  );
  const actions = useMemo(
    () => ({
      start: async (...call: Parameters<Downloads["start"]>) =>
        (await longhaul.start(...call)).jobId,
      cancel: (jobId: string) => longhaul.open(jobId).cancel(),
      retry: (jobId: string) => longhaul.open(jobId).retry(),
      remove: (jobId: string) => longhaul.remove(jobId),
      restore: (entry: StoredDownload) => longhaul.restore(entry),
    }),
    [longhaul],
  );
  return { downloads, ...actions };
}

/** Watch several downloads; the result is the phase and progress of each, by the job's id. */
export function usePhases(
  jobIds: readonly string[],
): ReadonlyMap<string, { phase: Phase; progress: number }> {
  const longhaul = useLonghaul();
  const idList = jobIds.join();
  const [, render] = useState(0);
  const downloads = useMemo<readonly Download[]>(
    () => (idList ? idList.split(",").map((jobId) => longhaul.open(jobId)) : []),
    [longhaul, idList],
  );
  useEffect(() => {
    const ends = downloads.map(({ subscribe }) => subscribe(() => render((count) => count + 1)));
    return () => {
      for (const end of ends) end();
    };
  }, [downloads]);
  const phases = downloads.map(
    ({ jobId, state }) =>
      [jobId, { phase: phaseOf(state), progress: state.job?.progress ?? 0 }] as const,
  );
  return useUnlessEqual(new Map(phases));
}

/** Return the previous map while the new one is equal to it. */
function useUnlessEqual<T>(map: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const previous = useRef(map);
  const text = (value: typeof map) => JSON.stringify([...value]);
  if (text(previous.current) !== text(map)) previous.current = map;
  return previous.current;
}
