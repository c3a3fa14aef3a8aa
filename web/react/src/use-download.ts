import type { Download, DownloadState, StartOptions } from "@longhaul/client";
import { useCallback, useMemo, useState, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";
import { type Phase, phaseOf } from "./phase.js";

/** What a user has asked for and the API has not answered yet. */
export type Pending = "start" | "cancel" | "retry" | "link";

export interface DownloadView extends DownloadState {
  jobId: string | null;
  /** The files as they were asked for; empty where this browser did not start the download. */
  fileIds: readonly number[];
  phase: Phase;
  pending: Pending | null;
  /** Why the last thing that was asked for was refused. */
  refusal: Error | null;
  start(fileIds: readonly number[], options?: StartOptions): Promise<void>;
  cancel(): Promise<void>;
  retry(): Promise<void>;
  /** Save the archive: goes to a freshly signed link. */
  save(): Promise<void>;
  /** Back to idle, and out of this browser's memory. */
  dismiss(): void;
}

const IDLE: DownloadState = { job: null, connection: "closed", problem: null };
const noNews = () => () => undefined;

/**
 * One download, live: the one with this id, or none until `start` is called. On a server it is
 * idle; the browser takes it from there.
 */
export function useDownload(jobId: string | null = null): DownloadView {
  const longhaul = useLonghaul();
  const [started, setStarted] = useState<Download | null>(null);
  const download = useMemo(
    () => (jobId && isBrowser() ? longhaul.open(jobId) : started),
    [longhaul, jobId, started],
  );
  const state = useSyncExternalStore(
    download?.subscribe ?? noNews,
    () => download?.state ?? IDLE,
    () => IDLE,
  );
  const { pending, refusal, ask, forgive } = useRequests();
  // A page that is being hydrated must look as the server made it, whatever is known already.
  const known = state === IDLE ? null : download;
  const phase = known ? phaseOf(state) : pending === "start" ? "starting" : "idle";

  const start = useCallback(
    (fileIds: readonly number[], options?: StartOptions) =>
      ask("start", async () => setStarted(await longhaul.start(fileIds, options))),
    [ask, longhaul],
  );
  const dismiss = useCallback(() => {
    if (download) longhaul.forget(download.jobId);
    setStarted(null);
    forgive();
  }, [download, longhaul, forgive]);
  const actions = useMemo(() => actionsOf(download, ask), [download, ask]);

  return {
    ...state,
    ...actions,
    jobId: download?.jobId ?? jobId,
    fileIds: known?.fileIds ?? [],
    phase,
    pending,
    refusal,
    start,
    dismiss,
  };
}

type Ask = (what: Pending, call: () => Promise<unknown>) => Promise<void>;

function actionsOf(download: Download | null, ask: Ask) {
  const on = (what: Pending, call: (download: Download) => Promise<unknown>) => async () => {
    if (download) await ask(what, () => call(download));
  };
  return {
    cancel: on("cancel", (it) => it.cancel()),
    retry: on("retry", (it) => it.retry()),
    save: on("link", async (it) => window.location.assign((await it.link()).downloadUrl)),
  };
}

/** One request of the user at a time, and what became of it. */
function useRequests() {
  const [pending, setPending] = useState<Pending | null>(null);
  const [refusal, setRefusal] = useState<Error | null>(null);
  const ask: Ask = useCallback(async (what, call) => {
    setPending(what);
    setRefusal(null);
    try {
      await call();
    } catch (error) {
      setRefusal(error instanceof Error ? error : new Error(String(error)));
    } finally {
      setPending(null);
    }
  }, []);
  const forgive = useCallback(() => setRefusal(null), []);
  return { pending, refusal, ask, forgive };
}

function isBrowser(): boolean {
  return typeof window !== "undefined";
}
