import type { Download, DownloadState, StartOptions } from "@longhaul/client";
import { useCallback, useMemo, useState, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";
import { type Phase, phaseOf } from "./phase.js";

/** The user's request that is in progress. */
export type Pending = "start" | "cancel" | "retry" | "link";

export interface DownloadView extends DownloadState {
  jobId: string | null;
  /** The requested files; empty if this browser did not start the download. */
  fileIds: readonly number[];
  phase: Phase;
  pending: Pending | null;
  /** Why the user's last request failed. */
  requestError: Error | null;
  start(fileIds: readonly number[], options?: StartOptions): Promise<void>;
  cancel(): Promise<void>;
  retry(): Promise<void>;
  /** Save the archive: open a newly signed URL. */
  save(): Promise<void>;
  /** Return to idle and remove the download from this browser's list. */
  dismiss(): void;
}

const IDLE: DownloadState = { job: null, connection: "closed", problem: null };
const noUpdates = () => () => undefined;

/**
 * Watch the download with this id, or the one that `start` starts. During server rendering it is
 * idle.
 */
export function useDownload(jobId: string | null = null): DownloadView {
  const longhaul = useLonghaul();
  const [started, setStarted] = useState<Download | null>(null);
  const download = useMemo(
    () => (jobId && isBrowser() ? longhaul.open(jobId) : started),
    [longhaul, jobId, started],
  );
  const state = useSyncExternalStore(
    download?.subscribe ?? noUpdates,
    () => download?.state ?? IDLE,
    () => IDLE,
  );
  const { pending, requestError, request, clearError } = useRequest();
  // During hydration the output must equal the server's, even if there is a state already.
  const visible = state === IDLE ? null : download;
  const phase = visible ? phaseOf(state) : pending === "start" ? "starting" : "idle";

  const start = useCallback(
    (fileIds: readonly number[], options?: StartOptions) =>
      request("start", async () => setStarted(await longhaul.start(fileIds, options))),
    [request, longhaul],
  );
  const dismiss = useCallback(() => {
    if (download) longhaul.remove(download.jobId);
    setStarted(null);
    clearError();
  }, [download, longhaul, clearError]);
  const actions = useMemo(() => actionsOf(download, request), [download, request]);

  return {
    ...state,
    ...actions,
    jobId: download?.jobId ?? jobId,
    fileIds: visible?.fileIds ?? [],
    phase,
    pending,
    requestError,
    start,
    dismiss,
  };
}

type SendRequest = (kind: Pending, call: () => Promise<unknown>) => Promise<void>;

function actionsOf(download: Download | null, request: SendRequest) {
  const on = (kind: Pending, call: (download: Download) => Promise<unknown>) => async () => {
    if (download) await request(kind, () => call(download));
  };
  return {
    cancel: on("cancel", (it) => it.cancel()),
    retry: on("retry", (it) => it.retry()),
    save: on("link", async (it) => window.location.assign((await it.link()).downloadUrl)),
  };
}

/** Track the user's request and its error. */
function useRequest() {
  const [pending, setPending] = useState<Pending | null>(null);
  const [requestError, setRequestError] = useState<Error | null>(null);
  const request: SendRequest = useCallback(async (kind, call) => {
    setPending(kind);
    setRequestError(null);
    try {
      await call();
    } catch (error) {
      setRequestError(error instanceof Error ? error : new Error(String(error)));
    } finally {
      setPending(null);
    }
  }, []);
  const clearError = useCallback(() => setRequestError(null), []);
  return { pending, requestError, request, clearError };
}

function isBrowser(): boolean {
  return typeof window !== "undefined";
}
