import {
  ApiProblem,
  type Download,
  type DownloadState,
  type Job,
  JobUnsuccessful,
  type Longhaul,
  type RequestedFile,
  type StartOptions,
  saveFile,
} from "@longhaul/client";
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { useLonghaul } from "./context.js";
import { isInProgress, type Phase, phaseOf } from "./phase.js";
import { type SendRequest, useRequest } from "./use-request.js";

/** The user's request that is in progress. */
export type Pending = "start" | "cancel" | "retry" | "link";

export interface UseDownloadOptions {
  /** The download to watch; without it, the one that `start` starts. */
  jobId?: string | null;
  /** The files that `autoStart` downloads. */
  fileIds?: readonly number[];
  startOptions?: StartOptions;
  /** Start to download `fileIds` when the component appears. */
  autoStart?: boolean;
  /** Save the archive as soon as it is ready. */
  autoSave?: boolean;
  /** Called when the job has changed while it is in progress. */
  onProgress?(job: Job): void;
  /** Called when the archive is ready; not for one that was ready when the component appeared. */
  onSuccess?(job: Job): void;
  /** Called when the download fails (`JobUnsuccessful`) or a request of the user fails. */
  onError?(error: Error): void;
}

export interface DownloadView extends DownloadState {
  jobId: string | null;
  /** The requested files; empty if this browser did not start the download. */
  fileIds: readonly number[];
  phase: Phase;
  pending: Pending | null;
  /** Why the user's last request failed. */
  requestError: Error | null;
  start(fileIds: readonly RequestedFile[], options?: StartOptions): Promise<void>;
  cancel(): Promise<void>;
  retry(): Promise<void>;
  /** Save the archive, without leaving the page. */
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
export function useDownload(jobIdOrOptions: string | null | UseDownloadOptions = null) {
  const options = optionsOf(jobIdOrOptions);
  const jobId = options.jobId ?? null;
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
  const { pending, requestError, request, setError } = useRequest<Pending>();
  // During hydration the output must equal the server's, even if there is a state already.
  const visible = state === IDLE ? null : download;
  const phase = visible ? phaseOf(state) : pending === "start" ? "starting" : "idle";

  const start = useCallback(
    (fileIds: readonly RequestedFile[], options?: StartOptions) =>
      request("start", async () => setStarted(await longhaul.start(fileIds, options))),
    [request, longhaul],
  );
  const dismiss = useCallback(() => {
    if (download) longhaul.remove(download.jobId);
    setStarted(null);
    setError(null);
  }, [download, longhaul, setError]);
  const actions = useMemo(
    () => actionsOf(longhaul, download, request, setError),
    [longhaul, download, request, setError],
  );
  const view: DownloadView = {
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
  useAutoStart(view, options);
  useCallbacks(view, options, started !== null);
  return view;
}

function optionsOf(jobIdOrOptions: string | null | UseDownloadOptions): UseDownloadOptions {
  return typeof jobIdOrOptions === "object" && jobIdOrOptions
    ? jobIdOrOptions
    : { jobId: jobIdOrOptions };
}

type SetError = (error: Error | null) => void;

/** Milliseconds that a URL must still be valid. */
const MIN_VALIDITY = 30_000;

function actionsOf(
  longhaul: Longhaul,
  download: Download | null,
  request: SendRequest<Pending>,
  setError: SetError,
) {
  const on = (kind: Pending, call: (download: Download) => Promise<unknown>) => async () => {
    if (download) await request(kind, () => call(download));
  };
  const save = async (download: Download) => {
    const onError = async () => {
      longhaul.markSaved(download.jobId, false);
      // The URL may be why, or the archive is gone.
      download.dropLink();
      await download.refresh().catch(() => undefined);
      if (phaseOf(download.state) !== "ready") return;
      setError(new Error("The file couldn't be saved. Try again in a minute."));
    };
    saveFile(await urlOf(download), () => void onError());
    longhaul.markSaved(download.jobId);
  };
  return {
    cancel: on("cancel", (it) => it.cancel()),
    retry: on("retry", (it) => it.retry()),
    save: on("link", save),
  };
}

/** Return a URL of the archive that is still valid for a while. */
async function urlOf(download: Download): Promise<string> {
  const { job } = download.state;
  const ends = Date.parse(job?.expiresAt ?? "");
  if (job?.downloadUrl && ends - Date.now() > MIN_VALIDITY) return job.downloadUrl;
  try {
    return (await download.link()).downloadUrl;
  } catch (error) {
    if (error instanceof ApiProblem && [404, 410].includes(error.status)) await download.refresh();
    throw error;
  }
}

function useAutoStart({ phase, start }: DownloadView, options: UseDownloadOptions): void {
  const done = useRef(false);
  const hydrated = useHydrated();
  const { autoStart = false, fileIds, startOptions, jobId } = options;
  useEffect(() => {
    if (!autoStart || !hydrated || done.current || jobId || !fileIds?.length || phase !== "idle")
      return;
    done.current = true;
    void start(fileIds, startOptions);
  }, [autoStart, hydrated, fileIds, startOptions, jobId, phase, start]);
}

/** Return false during hydration, when the downloads of this browser are not known yet. */
function useHydrated(): boolean {
  return useSyncExternalStore(
    noUpdates,
    () => true,
    () => false,
  );
}

/** Call the callbacks of the options after changes, and save automatically. */
function useCallbacks(view: DownloadView, options: UseDownloadOptions, isOwn: boolean): void {
  const latest = useRef({ view, options });
  latest.current = { view, options };
  const watched = useRef(false);
  const reported = useRef(false);
  const { job, phase, requestError, problem } = view;
  useEffect(() => {
    const { view, options } = latest.current;
    const inProgress = job !== null && isInProgress(phase);
    if (!job || inProgress) {
      watched.current = inProgress;
      reported.current = false;
      if (job) options.onProgress?.(job);
      return;
    }
    if (reported.current || !(watched.current || isOwn)) return;
    reported.current = true;
    if (phase === "failed") options.onError?.(new JobUnsuccessful(job));
    if (phase !== "ready") return;
    options.onSuccess?.(job);
    if (options.autoSave) void view.save();
  }, [job, phase, isOwn]);
  const error = requestError ?? problem;
  useEffect(() => {
    if (error) latest.current.options.onError?.(error);
  }, [error]);
}

function isBrowser(): boolean {
  return typeof window !== "undefined";
}
