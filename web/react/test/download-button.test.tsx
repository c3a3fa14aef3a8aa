// @vitest-environment happy-dom
import { Longhaul } from "@longhaul/client";
import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, JOB_ID, json } from "../../client/test/fake-server.js";
import { DownloadButton, LonghaulProvider } from "../src/index.js";

let server: FakeServer;
let storage: FakeStorage;

beforeEach(() => {
  storage = new FakeStorage();
  server = new FakeServer();
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
});

afterEach(cleanup);

function show(props: Partial<Parameters<typeof DownloadButton>[0]> = {}) {
  const client = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  return render(
    <StrictMode>
      <LonghaulProvider client={client}>
        <DownloadButton fileIds={[1, 2, 3]} {...props} />
      </LonghaulProvider>
    </StrictMode>,
  );
}

const button = (name: string | RegExp) => screen.getByRole("button", { name });
const shown = (text: string) => screen.findByText(text, { selector: ".lh-status" });
const change = (...change: Parameters<FakeServer["change"]>) =>
  act(async () => server.change(...change));

async function start() {
  fireEvent.click(button("Download"));
  await shown("Queued, starting soon");
  await waitFor(() => expect(server.openStreams).toBe(1));
}

test("the button goes from idle to the link", async () => {
  show();
  await start();
  await change({ status: "processing", progress: 42, estimatedSecondsRemaining: 75 });
  const bar = await screen.findByRole("progressbar", { name: "Preparing your download" });
  await waitFor(() => expect(bar.getAttribute("aria-valuenow")).toBe("42"));
  expect(bar.getAttribute("aria-valuetext")).toBe("Preparing 42%, about 1 min left");
  await change({ status: "completed", downloadUrl: "http://store.test/x", progress: 100 });
  const link = await screen.findByRole("link", { name: "Save file" });
  expect(link.getAttribute("href")).toBe("http://store.test/x");
  expect(screen.queryByRole("progressbar")).toBeNull();
});

test("screen readers get phases and quarters, not every percent", async () => {
  show();
  await start();
  const announced = new Set<string>();
  const status = screen.getByRole("status");
  for (const progress of [3, 30, 31, 44, 49, 51]) {
    await change({ status: "processing", progress });
    await waitFor(() =>
      expect(screen.getByRole("progressbar").getAttribute("aria-valuenow")).toBe(`${progress}`),
    );
    announced.add(status.textContent ?? "");
  }
  expect([...announced]).toEqual(["Preparing", "25%", "50%"]);
});

test("a second click while a download is in progress does nothing", async () => {
  show();
  await start();
  fireEvent.click(button("Download"));
  expect(server.count("initiate")).toBe(1);
  expect(button("Download").getAttribute("aria-disabled")).toBe("true");
});

test("the position in the queue is shown", async () => {
  show();
  await start();
  await change({ queuePosition: 4 });
  await shown("Queued, position 4");
});

test("a failure is explained and can be retried", async () => {
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => {
    server.change({ status: "queued", error: null });
    return json(server.now, 202);
  });
  show();
  await start();
  await change({
    status: "failed",
    error: "We're having a temporary problem. Try again in a minute.",
  });
  await shown("We're having a temporary problem. Try again in a minute.");
  fireEvent.click(button("Try again"));
  await shown("Queued, starting soon");
});

test("after cancelling the button can start another download", async () => {
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => {
    server.change({ status: "cancelled" });
    return json({ jobId: JOB_ID, status: "cancelled", message: "Cancelled" });
  });
  show();
  await start();
  fireEvent.click(button("Cancel"));
  await shown("Cancelled");
  expect(button("Download").getAttribute("aria-disabled")).toBe("false");
});

test("an error shows the API's message", async () => {
  const detail = "You already have 5 downloads in progress. Wait for one to finish or cancel one.";
  const problem = { code: "TOO_MANY_ACTIVE_JOBS", detail };
  server.on("POST /v1/download/initiate", () => json(problem, 429));
  show();
  fireEvent.click(button("Download"));
  await shown(detail);
});

test("after a reload the button continues the download", async () => {
  const page = show();
  await start();
  page.unmount();
  server.change({ status: "processing", progress: 60 });
  show();
  const bar = await screen.findByRole("progressbar");
  await waitFor(() => expect(bar.getAttribute("aria-valuenow")).toBe("60"));
  expect(server.count("initiate")).toBe(1);
});

test("the keyboard focus moves from the button to the link", async () => {
  show();
  button("Download").focus();
  await start();
  await change({ status: "completed", downloadUrl: "http://store.test/x" });
  const link = await screen.findByRole("link", { name: "Save file" });
  await waitFor(() => expect(document.activeElement).toBe(link));
});

test("labels can be translated", () => {
  show({ labels: { download: "Herunterladen" } });
  expect(button("Herunterladen")).toBeDefined();
});
