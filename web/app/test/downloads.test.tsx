// @vitest-environment happy-dom
import { Longhaul, type StartOptions } from "@longhaul/client";
import { LonghaulProvider } from "@longhaul/react";
import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, JOB_ID, job, json } from "../../client/test/fake-server.js";
import DownloadPage from "../src/download/page.js";
import { configureSignIn, storedToken, storeToken } from "../src/sign-in.js";

let server: FakeServer;
let longhaul: Longhaul;

beforeEach(() => {
  server = new FakeServer();
  const storage = new FakeStorage();
  longhaul = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
  server.on("GET /v1/download/jobs", () => json({ jobs: [server.now], nextCursor: null }));
});

afterEach(() => {
  cleanup();
  window.localStorage.clear();
  window.sessionStorage.clear();
});

const show = () =>
  render(
    <LonghaulProvider client={longhaul}>
      <DownloadPage />
    </LonghaulProvider>,
  );

async function start(options: StartOptions = {}) {
  await longhaul.start([{ file_id: 1, path: "a/" }, 2], options);
}

const button = (name: RegExp) => screen.findByRole("button", { name });

// The account still has a job that the user removed from the list.
test("a removed download does not come back from the account, but Undo restores it", async () => {
  storeToken("user");
  server.now = job({ status: "failed", error: "No.", retryable: false });
  await start();
  const page = show();
  fireEvent.click(await button(/^Remove from this list/));
  await screen.findByText("Removed 1 download.");
  await waitFor(() => expect(server.count("/v1/download/jobs")).toBe(1));
  expect(screen.queryByRole("article")).toBeNull();
  page.unmount();
  const again = show();
  await waitFor(() => expect(server.count("/v1/download/jobs")).toBe(2));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(screen.queryByRole("article")).toBeNull();
  again.unmount();
  await start();
  show();
  fireEvent.click(await button(/^Remove from this list/));
  expect(window.localStorage.getItem("longhaul:removed")).toContain(JOB_ID);
  fireEvent.click(await button(/^Undo/));
  expect(await screen.findByRole("article")).toBeDefined();
  expect(window.localStorage.getItem("longhaul:removed")).not.toContain(JOB_ID);
}, 20_000);

// The page learns a file's name late if the download was started before the file was checked.
test("a name that becomes known is not announced as an event", async () => {
  server.now = job({ status: "completed", totalFiles: 2, processedFiles: 2 });
  await start();
  const files = [{ file_id: 1, state: "done", path: "a/", fileName: "report.pdf" }];
  let respond: (response: Response) => void = () => undefined;
  const response = new Promise<Response>((resolve) => {
    respond = resolve;
  });
  server.on(`GET /v1/download/status/${JOB_ID}/files`, () => response);
  show();
  await screen.findByRole("heading", { name: "File 1 and 1 more" });
  await act(async () => respond(json({ files, nextCursor: null })));
  await screen.findByRole("heading", { name: "report.pdf and 1 more" });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(screen.getByRole("log").textContent).toBe("");
});

const OPTIONS = { onMissing: "skip", fileName: "a.zip", priority: "low" } as const;

/** Return the body of the latest request that created a job. */
function created(): unknown {
  const call = server.requests.filter(({ path }) => path.endsWith("initiate")).at(-1);
  return JSON.parse(String(call?.init.body));
}

// What replaces a download is the same download.
test("Start again starts the same download, with its options and paths", async () => {
  server.now = job({ status: "expired" });
  await start(OPTIONS);
  show();
  const restart = await button(/^Start again/);
  server.now = job({ jobId: "job-2" });
  fireEvent.click(restart);
  await waitFor(() => expect(server.count("initiate")).toBe(2));
  expect(created()).toEqual({ files: [{ file_id: 1, path: "a/" }, { file_id: 2 }], ...OPTIONS });
});

test("Continue without it keeps the options and paths", async () => {
  const error = "File 2 not found";
  server.now = job({ status: "failed", error, errorCode: "FILE_NOT_FOUND", retryable: false });
  const { onMissing: _, ...options } = OPTIONS;
  await start(options);
  const files = [
    { file_id: 1, state: "pending", path: "a/" },
    { file_id: 2, state: "missing", path: null },
  ];
  server.on(`GET /v1/download/status/${JOB_ID}/files`, () => json({ files, nextCursor: null }));
  show();
  const skip = await button(/^Continue without it/);
  server.now = job({ jobId: "job-2" });
  fireEvent.click(skip);
  await waitFor(() => expect(server.count("initiate")).toBe(2));
  expect(created()).toEqual({ files: [{ file_id: 1, path: "a/" }], ...OPTIONS });
});

// A request that fails says so where the user sent it.
test("Start again says why it failed, and is disabled while it runs", async () => {
  server.now = job({ status: "expired" });
  await start();
  show();
  const restart = await button(/^Start again/);
  let respond: (response: Response) => void = () => undefined;
  const response = new Promise<Response>((resolve) => {
    respond = resolve;
  });
  server.on("POST /v1/download/initiate", () => response);
  fireEvent.click(restart);
  await waitFor(() => expect(restart.getAttribute("aria-disabled")).toBe("true"));
  respond(json({ code: "TOO_MANY_ACTIVE_JOBS", detail: "Too many active jobs." }, 429));
  await screen.findByText("Too many active jobs.", { selector: ".notice" });
  expect(restart.getAttribute("aria-disabled")).toBe("false");
});

// An old error would hide what happens to the download later.
test.each(["progress", "another request"])(
  "the error of Continue without it ends with %s",
  async (what) => {
    const error = "File 0 could not be fetched";
    const failing = {
      status: "failed",
      error,
      errorCode: "NETWORK_ERROR",
      retryable: true,
    } as const;
    server.now = job(failing);
    await start();
    server.on(`GET /v1/download/status/${JOB_ID}/files`, () =>
      json({ code: "BUSY", detail: "Busy." }, 503),
    );
    show();
    fireEvent.click(await button(/^Continue without it/));
    await screen.findByText("Busy.", { selector: ".notice" });
    await screen.findByText(/: Busy\.$/);
    if (what === "progress") {
      server.change({ status: "queued", error: null, errorCode: null });
      await act(() => longhaul.open(JOB_ID).refresh());
    } else {
      server.on(`POST /v1/download/${JOB_ID}/retry`, () => new Promise<Response>(() => undefined));
      fireEvent.click(await button(/^Try again/));
    }
    await waitFor(() => expect(screen.queryByText("Busy.")).toBeNull());
  },
);

// The API's settings may allow 0 as the number of a file.
test("a file with the number 0 is named like any other", async () => {
  const retryAt = new Date(Date.now() + 60_000).toISOString();
  const error = "File 0: unavailable (HTTP 500)";
  server.now = job({ error, errorCode: "NETWORK_ERROR", retryAt, totalFiles: 1 });
  await longhaul.start([0]);
  show();
  await screen.findByRole("heading", { name: "File 0" });
  await screen.findByText(/^File 0 can't be fetched right now/);
  fireEvent.change(screen.getByLabelText("Files"), { target: { value: "0" } });
  fireEvent.click(await button(/^Add$/));
  expect(await button(/^Remove file 0$/)).toBeDefined();
});

// Their paths were not stored, but the API knows them.
test("Start again gets the paths from the API if the storage had no room for them", async () => {
  server.now = job({ status: "expired" });
  const { jobId, createdAt } = server.now;
  longhaul.restore({ jobId, fileIds: [1, 2], files: [], startedAt: createdAt });
  const files = [
    { file_id: 1, state: "done", path: "a/1.pdf" },
    { file_id: 2, state: "done", path: null },
  ];
  server.on(`GET /v1/download/status/${JOB_ID}/files`, () => json({ files, nextCursor: null }));
  show();
  const restart = await button(/^Start again/);
  server.now = job({ jobId: "job-2" });
  fireEvent.click(restart);
  await waitFor(() => expect(server.count("initiate")).toBe(1));
  expect(created()).toEqual({ files: [{ file_id: 1, path: "a/1.pdf" }, { file_id: 2 }] });
});

// The browser does not load the page again for a link that differs only in its hash.
test("a user's token link that is opened in an open page signs in", () => {
  const reload = vi.spyOn(window.location, "reload").mockImplementation(() => undefined);
  configureSignIn();
  window.history.replaceState(null, "", "/#other");
  window.dispatchEvent(new Event("hashchange"));
  expect(reload).not.toHaveBeenCalled();
  window.history.replaceState(null, "", "/#token=user");
  window.dispatchEvent(new Event("hashchange"));
  expect(window.location.hash).toBe("");
  expect(storedToken()).toBe("user");
  expect(reload).toHaveBeenCalled();
  reload.mockRestore();
});
