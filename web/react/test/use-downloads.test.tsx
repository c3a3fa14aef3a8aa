// @vitest-environment happy-dom
import { ApiProblem, Longhaul } from "@longhaul/client";
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, job, json } from "../../client/test/fake-server.js";
import { LonghaulProvider, useDownload, useDownloads, usePhases } from "../src/index.js";

let server: FakeServer;
let longhaul: Longhaul;

beforeEach(() => {
  server = new FakeServer();
  const storage = new FakeStorage();
  longhaul = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
});

afterEach(cleanup);

const wrapper = ({ children }: { children: ReactNode }) => (
  <LonghaulProvider client={longhaul}>{children}</LonghaulProvider>
);

const list = () => renderHook(() => useDownloads(), { wrapper }).result;

/** Start the job with this number; a later number is a later job. */
async function start(number: number, status: "queued" | "failed" = "queued") {
  server.now = job({
    jobId: `job-${number}`,
    createdAt: `2026-03-01T12:0${number}:00.000Z`,
    status,
  });
  return longhaul.start([number]);
}

const ids = ({ downloads }: { downloads: readonly { jobId: string }[] }) =>
  downloads.map(({ jobId }) => jobId);

test("the list has the downloads of this browser, newest first, and follows changes", async () => {
  await start(1);
  const hook = list();
  expect(ids(hook.current)).toEqual(["job-1"]);
  await act(() => start(2));
  expect(ids(hook.current)).toEqual(["job-2", "job-1"]);
  expect(hook.current.downloads[0]).toEqual({
    ...{ jobId: "job-2", fileIds: [2], startedAt: "2026-03-01T12:02:00.000Z" },
  });
});

test("start() adds a download and returns the job's id", async () => {
  const hook = list();
  server.now = job({ jobId: "job-7" });
  const started = await act(() => hook.current.start([7], { fileName: "7.zip" }, "invoice.pdf"));
  expect(started).toBe("job-7");
  expect(hook.current.downloads).toMatchObject([{ jobId: "job-7", firstFile: "invoice.pdf" }]);
});

test("remove() and restore() change only the list", async () => {
  await start(1);
  await start(2);
  const hook = list();
  const [, older] = hook.current.downloads;
  act(() => hook.current.remove("job-1"));
  expect(ids(hook.current)).toEqual(["job-2"]);
  if (older) act(() => hook.current.restore(older));
  expect(ids(hook.current)).toEqual(["job-2", "job-1"]);
  expect(server.count("cancel")).toBe(0);
});

test("cancel() and retry() send a request for their job", async () => {
  await start(1);
  const hook = list();
  server.on("POST /v1/download/cancel/job-1", () => json({ status: "cancelled" }));
  await act(() => hook.current.cancel("job-1"));
  expect(server.count("cancel/job-1")).toBe(1);
  await start(2, "failed");
  server.on("POST /v1/download/job-2/retry", () => {
    server.change({ status: "queued" });
    return json(server.now, 202);
  });
  await act(() => hook.current.retry("job-2"));
  expect(longhaul.open("job-2").state.job?.status).toBe("queued");
});

test.each(["start", "cancel", "retry"] as const)(
  "%s() throws what the API responds",
  async (name) => {
    await start(1);
    const hook = list();
    for (const path of ["initiate", "cancel/job-1", "job-1/retry"])
      server.on(`POST /v1/download/${path}`, () => json({ code: "FORBIDDEN" }, 403));
    const call = name === "start" ? hook.current.start([1]) : hook.current[name]("job-1");
    await expect(call).rejects.toBeInstanceOf(ApiProblem);
  },
);

test("usePhases() watches all jobs, and returns the same map until one changes", async () => {
  await start(1);
  await start(2, "failed");
  server.now = job({ jobId: "job-1" });
  const { result, rerender } = renderHook(() => usePhases(["job-1", "job-2"]), { wrapper });
  expect([...result.current]).toEqual([
    ["job-1", { phase: "queued", progress: 0 }],
    ["job-2", { phase: "failed", progress: 0 }],
  ]);
  const before = result.current;
  rerender();
  expect(result.current).toBe(before);
  await waitFor(() => expect(server.openStreams).toBe(1));
  await act(async () => server.change({ status: "processing", progress: 42 }));
  await waitFor(() =>
    expect(result.current.get("job-1")).toEqual({ phase: "processing", progress: 42 }),
  );
});

test("usePhases() shows that an archive has expired, without useDownload()", async () => {
  const availableUntil = new Date(Date.now() - 60_000).toISOString();
  server.now = job({ jobId: "job-1", status: "completed", availableUntil });
  await longhaul.start([1]);
  const { result } = renderHook(() => usePhases(["job-1"]), { wrapper });
  expect(result.current.get("job-1")?.phase).toBe("ready");
  server.now = { ...server.now, version: 2, status: "expired" };
  const isExpired = () => expect(result.current.get("job-1")?.phase).toBe("expired");
  await waitFor(isExpired, { timeout: 5_000 });
});

test("components that start the same running download show the same progress", async () => {
  server.now = job({ jobId: "job-1" });
  const button = renderHook(() => useDownload(), { wrapper }).result;
  await act(() => button.current.start([1]));
  await waitFor(() => expect(server.openStreams).toBe(1));
  const hook = list();
  await act(() => hook.current.start([1]));
  const phases = renderHook(() => usePhases(["job-1"]), { wrapper }).result;
  await act(async () => server.change({ status: "processing", progress: 42 }));
  await waitFor(() => expect(phases.current.get("job-1")?.progress).toBe(42));
  expect(button.current.job?.progress).toBe(42);
  expect(server.count("subscribe/job-1")).toBe(1);
});
