// @vitest-environment happy-dom
import { ApiProblem, JobUnsuccessful, Longhaul, Unreachable } from "@longhaul/client";
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, JOB_ID, json } from "../../client/test/fake-server.js";
import {
  LonghaulProvider,
  type Phase,
  type UseDownloadOptions,
  useDownload,
} from "../src/index.js";

let server: FakeServer;
let longhaul: Longhaul;

beforeEach(() => {
  server = new FakeServer();
  const storage = new FakeStorage();
  longhaul = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
});

afterEach(() => {
  cleanup();
  for (const frame of document.querySelectorAll("iframe")) frame.remove();
});

const wrapper = ({ children }: { children: ReactNode }) => (
  <LonghaulProvider client={longhaul}>{children}</LonghaulProvider>
);

type Props = string | null | UseDownloadOptions;

function watch(initialProps: Props = null) {
  const { result, rerender } = renderHook((props: Props) => useDownload(props), {
    wrapper,
    initialProps,
  });
  return {
    get view() {
      return result.current;
    },
    rerender,
    /** Wait until the hook returns this phase. */
    reaches: (phase: Phase) => waitFor(() => expect(result.current.phase).toBe(phase)),
    /** Wait until the user's request has ended. */
    responds: () => waitFor(() => expect(result.current.pending).toBeNull()),
  };
}

const change = (...change: Parameters<FakeServer["change"]>) =>
  act(async () => server.change(...change));

/** Start a download, and wait until its stream is open. */
async function start() {
  const download = watch();
  await act(() => download.view.start([1, 2, 3]));
  await waitFor(() => expect(server.openStreams).toBe(1));
  return download;
}

/** A response that the test sends when it wants to. */
function delayed(call: string) {
  let send: (response: Response) => void = () => undefined;
  const response = new Promise<Response>((resolve) => {
    send = resolve;
  });
  server.on(call, () => response);
  return { send: (body: unknown, status = 200) => act(async () => send(json(body, status))) };
}

const isoIn = (ms: number) => new Date(Date.now() + ms).toISOString();

test("without a job the hook is idle", () => {
  expect(watch().view).toMatchObject({
    ...{ phase: "idle", connection: "closed", job: null, jobId: null, fileIds: [] },
    ...{ pending: null, problem: null, requestError: null },
  });
});

test("a download is starting until the API has responded, then it is queued", async () => {
  const response = delayed("POST /v1/download/initiate");
  const download = watch();
  act(() => void download.view.start([1, 2, 3]));
  expect(download.view).toMatchObject({ phase: "starting", pending: "start", jobId: null });
  await response.send(server.now, 202);
  await download.responds();
  expect(download.view).toMatchObject({ phase: "queued", jobId: JOB_ID, fileIds: [1, 2, 3] });
});

test("a known job is starting until its state has arrived", async () => {
  const download = watch(JOB_ID);
  expect(download.view).toMatchObject({
    ...{ phase: "starting", connection: "connecting", job: null, jobId: JOB_ID },
  });
  await download.reaches("queued");
  expect(download.view.connection).toBe("live");
});

test("a download is processed until it is ready", async () => {
  const download = await start();
  await change({ status: "processing", progress: 42 });
  await download.reaches("processing");
  expect(download.view.job?.progress).toBe(42);
  await change({ status: "queued", retryAt: isoIn(60_000) });
  await download.reaches("queued");
  await change({ status: "completed", progress: 100 });
  await download.reaches("ready");
  await waitFor(() => expect(download.view.connection).toBe("closed"));
});

test("a failed download is queued by retry()", async () => {
  const download = await start();
  await change({ status: "failed", error: "File 3 cannot be read", retryable: true });
  await download.reaches("failed");
  const response = delayed(`POST /v1/download/${JOB_ID}/retry`);
  act(() => void download.view.retry());
  expect(download.view.pending).toBe("retry");
  server.change({ status: "queued", error: null });
  await response.send(server.now, 202);
  await download.responds();
  expect(download.view.phase).toBe("queued");
});

test("a download is cancelled by cancel()", async () => {
  const download = await start();
  const response = delayed(`POST /v1/download/cancel/${JOB_ID}`);
  act(() => void download.view.cancel());
  expect(download.view).toMatchObject({ phase: "queued", pending: "cancel" });
  server.change({ status: "cancelled" });
  await response.send({ jobId: JOB_ID, status: "cancelled", message: "Cancelled" });
  await download.reaches("cancelled");
  await download.responds();
});

test("a download expires by itself, or when the API says so", async () => {
  const download = await start();
  await change({ status: "completed", availableUntil: isoIn(300) });
  await download.reaches("ready");
  server.now = { ...server.now, version: server.now.version + 1, status: "expired" };
  await waitFor(() => expect(download.view.phase).toBe("expired"), { timeout: 5_000 });
  server.now = { ...server.now, jobId: "job-2", status: "expired" };
  const other = watch("job-2");
  await other.reaches("expired");
});

test.each([
  [404, "JOB_NOT_FOUND"],
  [403, "FORBIDDEN"],
  [401, "UNAUTHORIZED"],
])("a job that the API does not show (%i) is unknown", async (status, code) => {
  server.stream = "rejected";
  server.on(`GET /v1/download/status/${JOB_ID}`, () => json({ code, detail: "No." }, status));
  const download = watch(JOB_ID);
  await waitFor(() => expect(download.view.phase).toBe("unknown"), { timeout: 5_000 });
  expect(download.view).toMatchObject({ connection: "closed", job: null });
  expect(download.view.problem).toBeInstanceOf(ApiProblem);
});

test("a job that the API stops showing while it is processed becomes unknown", async () => {
  server.stream = { cutAfter: 200 };
  const download = await start();
  await change({ status: "processing", progress: 42 });
  await download.reaches("processing");
  server.stream = "rejected";
  const problem = { code: "UNAUTHORIZED", detail: "Authentication required." };
  server.on(`GET /v1/download/status/${JOB_ID}`, () => json(problem, 401));
  await waitFor(() => expect(download.view.phase).toBe("unknown"), { timeout: 8_000 });
  expect(download.view.problem?.message).toBe("Authentication required.");
}, 20_000);

test("without streams the hook polls, and without responses it reconnects", async () => {
  server.stream = "rejected";
  const download = watch(JOB_ID);
  await waitFor(() => expect(download.view.connection).toBe("polling"), { timeout: 5_000 });
  server.down = true;
  server.change({ progress: 1 });
  await waitFor(() => expect(download.view.connection).toBe("reconnecting"), { timeout: 8_000 });
}, 20_000);

test("save() gets a new link if the known one is about to expire", async () => {
  const download = await start();
  const old = { downloadUrl: "http://store.test/old", expiresAt: isoIn(1_000) };
  await change({ status: "completed", ...old });
  await download.reaches("ready");
  const response = delayed(`GET /v1/download/${JOB_ID}`);
  act(() => void download.view.save());
  expect(download.view.pending).toBe("link");
  await response.send({ downloadUrl: "http://store.test/new", expiresAt: isoIn(3_600_000) });
  await download.responds();
  expect(document.querySelector("iframe")?.getAttribute("src")).toBe("http://store.test/new");
  expect(longhaul.downloads()[0]?.saved).toBe(true);
});

test("dismiss() returns to idle and forgets the download", async () => {
  const download = await start();
  expect(longhaul.downloads()).toHaveLength(1);
  act(() => download.view.dismiss());
  expect(download.view).toMatchObject({ phase: "idle", jobId: null, job: null, fileIds: [] });
  expect(longhaul.downloads()).toEqual([]);
});

test.each(["cancel", "retry", "save"] as const)("%s() does nothing without a job", async (name) => {
  const download = watch();
  await act(() => download.view[name]());
  expect(download.view).toMatchObject({ phase: "idle", requestError: null });
  expect(server.requests).toEqual([]);
});

test("requests do not throw: their error is in requestError until the next one", async () => {
  const download = await start();
  const problem = { code: "JOB_CONFLICT", detail: "The job is still running.", retryable: false };
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => json(problem, 409));
  await act(() => download.view.retry());
  expect(download.view).toMatchObject({ phase: "queued", pending: null });
  expect(download.view.requestError).toBeInstanceOf(ApiProblem);
  expect(download.view.requestError).toMatchObject({ status: 409, message: problem.detail });
  await act(() => download.view.start([1, 2, 3]));
  expect(download.view.requestError).toBeNull();
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => Promise.reject(new TypeError("offline")));
  await act(() => download.view.retry());
  expect(download.view.requestError).toBeInstanceOf(Unreachable);
});

test("a start that is rejected stays idle", async () => {
  const problem = { code: "VALIDATION_ERROR", errors: { file_ids: ["Too many."] } };
  server.on("POST /v1/download/initiate", () => json(problem, 400));
  const errors: Error[] = [];
  const download = watch({ onError: (error) => errors.push(error) });
  await act(() => download.view.start([1]));
  expect(download.view.phase).toBe("idle");
  expect(download.view.requestError).toMatchObject({ errors: problem.errors });
  expect(errors).toEqual([download.view.requestError]);
});

test("the jobId decides what is watched, also after it changes", async () => {
  const download = watch(JOB_ID);
  await download.reaches("queued");
  server.now = { ...server.now, jobId: "job-2", status: "failed", error: "No." };
  download.rerender("job-2");
  await download.reaches("failed");
  expect(download.view.jobId).toBe("job-2");
  download.rerender(null);
  expect(download.view.phase).toBe("idle");
});

test("autoStart starts once, with its options, but not while a jobId is given", async () => {
  const options = { fileIds: [7], startOptions: { fileName: "seven.zip" }, autoStart: true };
  const download = watch({ ...options, jobId: "job-1" });
  await waitFor(() => expect(download.view.job).not.toBeNull());
  expect(server.count("initiate")).toBe(0);
  download.rerender(options);
  await download.reaches("queued");
  download.rerender({ ...options, fileIds: [8] });
  expect(server.count("initiate")).toBe(1);
  const started = server.requests.find(({ path }) => path.endsWith("initiate"));
  const body = JSON.parse(String(started?.init.body));
  expect(body).toEqual({ file_ids: [7], fileName: "seven.zip" });
});

test("the callbacks report each change once", async () => {
  const calls: string[] = [];
  const download = watch({
    onProgress: ({ status, progress }) => calls.push(`${status} ${progress}`),
    onSuccess: ({ status }) => calls.push(status),
    onError: (error) => calls.push(error.name),
  });
  await act(() => download.view.start([1, 2, 3]));
  await waitFor(() => expect(server.openStreams).toBe(1));
  await change({ status: "processing", progress: 42 });
  await download.reaches("processing");
  await change({ status: "failed", error: "No." });
  await download.reaches("failed");
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => {
    server.change({ status: "queued", progress: 0, error: null });
    return json(server.now, 202);
  });
  await act(() => download.view.retry());
  await waitFor(() => expect(server.openStreams).toBe(1));
  await change({ status: "completed", progress: 100 });
  await download.reaches("ready");
  expect(calls).toEqual([
    ...["queued 0", "processing 42", JobUnsuccessful.name, "queued 0", "completed"],
  ]);
});

// The API decides whether an archive is expired, not the device's clock.
test("a device whose clock is a day ahead shows a fresh archive as ready", async () => {
  const download = await start();
  await change({ status: "completed", availableUntil: isoIn(-86_400_000) });
  await download.reaches("ready");
  const before = server.count("status");
  await waitFor(() => expect(server.count("status")).toBeGreaterThan(before), { timeout: 5_000 });
  expect(download.view.phase).toBe("ready");
});

/** Save the archive, and let the storage respond with an error. */
async function failToSave(download: ReturnType<typeof watch>) {
  for (const frame of document.querySelectorAll("iframe")) frame.remove();
  await act(() => download.view.save());
  const frame = document.querySelector("iframe");
  await act(async () => void frame?.dispatchEvent(new Event("load")));
  return frame?.getAttribute("src");
}

// An action on an outdated state gets the current one.
test("after an error of the storage, the next save has a new link", async () => {
  const download = await start();
  const old = { downloadUrl: "http://store.test/old", expiresAt: isoIn(3_600_000) };
  await change({ status: "completed", ...old });
  await download.reaches("ready");
  server.now = { ...server.now, downloadUrl: "http://store.test/new" };
  expect(await failToSave(download)).toBe("http://store.test/old");
  await waitFor(() => expect(download.view.requestError?.message).toMatch(/couldn't be saved/));
  expect(await failToSave(download)).toBe("http://store.test/new");
});

test("an error of the storage shows that the archive is gone", async () => {
  const download = await start();
  const known = { downloadUrl: "http://store.test/old", expiresAt: isoIn(3_600_000) };
  await change({ status: "completed", ...known });
  await download.reaches("ready");
  server.now = { ...server.now, version: server.now.version + 1, status: "expired" };
  await failToSave(download);
  await download.reaches("expired");
  expect(download.view.requestError).toBeNull();
});
