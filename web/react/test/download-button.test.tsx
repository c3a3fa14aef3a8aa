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
const change = (...news: Parameters<FakeServer["change"]>) =>
  act(async () => server.change(...news));

async function begin() {
  fireEvent.click(button("Download"));
  await shown("Waiting for a free place");
  await waitFor(() => expect(server.openStreams).toBe(1));
}

test("the whole way from idle to the link", async () => {
  show();
  await begin();
  await change({ status: "processing", progress: 42, estimatedSecondsRemaining: 75 });
  const bar = await screen.findByRole("progressbar", { name: "Preparing your download" });
  await waitFor(() => expect(bar.getAttribute("aria-valuenow")).toBe("42"));
  expect(bar.getAttribute("aria-valuetext")).toBe("Preparing 42 %, about 1 min left");
  await change({ status: "completed", downloadUrl: "http://store.test/x", progress: 100 });
  const link = await screen.findByRole("link", { name: "Save file" });
  expect(link.getAttribute("href")).toBe("http://store.test/x");
  expect(screen.queryByRole("progressbar")).toBeNull();
});

test("screen readers hear phases and quarters, not every per cent", async () => {
  show();
  await begin();
  const heard = new Set<string>();
  const status = screen.getByRole("status");
  for (const progress of [3, 30, 31, 44, 49, 51]) {
    await change({ status: "processing", progress });
    await waitFor(() =>
      expect(screen.getByRole("progressbar").getAttribute("aria-valuenow")).toBe(`${progress}`),
    );
    heard.add(status.textContent ?? "");
  }
  expect([...heard]).toEqual(["Preparing", "25 %", "50 %"]);
});

test("a second click while it works starts nothing", async () => {
  show();
  await begin();
  fireEvent.click(button("Download"));
  expect(server.count("initiate")).toBe(1);
  expect(button("Download").getAttribute("aria-disabled")).toBe("true");
});

test("the queue's position is shown where it is known", async () => {
  show();
  await begin();
  await change({ queuePosition: 4 });
  await shown("Waiting, number 4 in the queue");
});

test("a failure says why, and can be tried again", async () => {
  server.on(`POST /v1/download/${JOB_ID}/retry`, () => {
    server.change({ status: "queued", error: null });
    return json(server.now, 202);
  });
  show();
  await begin();
  await change({ status: "failed", error: "The storage did not answer" });
  await shown("The storage did not answer");
  fireEvent.click(button("Try again"));
  await shown("Waiting for a free place");
});

test("cancelling leaves the button ready for another start", async () => {
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => {
    server.change({ status: "cancelled" });
    return json({ jobId: JOB_ID, status: "cancelled", message: "Cancelled" });
  });
  show();
  await begin();
  fireEvent.click(button("Cancel"));
  await shown("Cancelled");
  expect(button("Download").getAttribute("aria-disabled")).toBe("false");
});

test("a refusal is told in the API's words", async () => {
  const refusal = { code: "TOO_MANY_ACTIVE_JOBS", detail: "You have five downloads running" };
  server.on("POST /v1/download/initiate", () => json(refusal, 429));
  show();
  fireEvent.click(button("Download"));
  await shown("You have five downloads running");
});

test("after a reload the button goes on where it was", async () => {
  const page = show();
  await begin();
  page.unmount();
  server.change({ status: "processing", progress: 60 });
  show();
  const bar = await screen.findByRole("progressbar");
  await waitFor(() => expect(bar.getAttribute("aria-valuenow")).toBe("60"));
  expect(server.count("initiate")).toBe(1);
});

test("the keyboard's focus follows the button to the link", async () => {
  show();
  button("Download").focus();
  await begin();
  await change({ status: "completed", downloadUrl: "http://store.test/x" });
  const link = await screen.findByRole("link", { name: "Save file" });
  await waitFor(() => expect(document.activeElement).toBe(link));
});

test("its words can be given in another language", () => {
  show({ words: { download: "Herunterladen" } });
  expect(button("Herunterladen")).toBeDefined();
});
