// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Longhaul } from "@longhaul/client";
import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, JOB_ID, json } from "../../client/test/fake-server.js";
import {
  DownloadButton,
  FRENCH,
  GERMAN,
  JAPANESE,
  LonghaulProvider,
  SPANISH,
} from "../src/index.js";

let server: FakeServer;
let storage: FakeStorage;

beforeEach(() => {
  storage = new FakeStorage();
  server = new FakeServer();
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
});

afterEach(() => {
  cleanup();
  for (const frame of document.querySelectorAll("iframe")) frame.remove();
});

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
  await change({ queuePosition: 3, estimatedSecondsRemaining: 120 });
  await shown("Queued, position 3, about 2 min left");
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

test("after a reload nothing is announced until something changes", async () => {
  const page = show();
  await start();
  page.unmount();
  server.change({ status: "processing", progress: 60 });
  show();
  await screen.findByRole("progressbar");
  await shown("Preparing 60%");
  expect(screen.getByRole("status").textContent).toBe("");
  await change({ status: "completed", progress: 100, downloadUrl: "http://store.test/x" });
  await waitFor(() => expect(screen.getByRole("status").textContent).toBe("Ready"));
});

test("an archive that lacks files says so", async () => {
  show();
  await start();
  await change({ status: "completed", missingFiles: 1, totalFiles: 6 });
  await shown("Ready, 1 of 6 files missing");
});

test("the button becomes expired by itself, and starts again", async () => {
  show();
  await start();
  const availableUntil = new Date(Date.now() + 1_500).toISOString();
  await change({ status: "completed", downloadUrl: "http://store.test/x", availableUntil });
  await screen.findByText(/^Ready · Available until /, { selector: ".lh-status" });
  server.now = { ...server.now, version: server.now.version + 1, status: "expired" };
  await screen.findByText("Expired", { selector: ".lh-status" }, { timeout: 6_000 });
  fireEvent.click(button("Start again"));
  await waitFor(() => expect(server.count("initiate")).toBe(2));
});

test("a download that the API has forgotten can be started again", async () => {
  const page = show();
  await start();
  page.unmount();
  const problem = { code: "JOB_NOT_FOUND", detail: "Job not found." };
  server.on(`GET /v1/download/subscribe/${JOB_ID}`, () => json(problem, 404));
  server.on(`GET /v1/download/status/${JOB_ID}`, () => json(problem, 404));
  show();
  await screen.findByText("No longer available", { selector: ".lh-status" }, { timeout: 5_000 });
  fireEvent.click(button("Start again"));
  await waitFor(() => expect(server.count("initiate")).toBe(2));
});

test("a failure that a retry can't change is not retried", async () => {
  show();
  await start();
  await change({ status: "failed", error: "File 3 does not exist", retryable: false });
  await shown("File 3 does not exist");
  expect(screen.queryByRole("button", { name: "Try again" })).toBeNull();
});

test("cancelling keeps the keyboard focus on the button", async () => {
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => {
    server.change({ status: "cancelled" });
    return json({ jobId: JOB_ID, status: "cancelled", message: "Cancelled" });
  });
  show();
  await start();
  button("Cancel").focus();
  fireEvent.click(button("Cancel"));
  await shown("Cancelled");
  expect(document.activeElement).toBe(button("Download"));
});

test("autoStart, autoSave and the callbacks work together, once in strict mode", async () => {
  const calls: string[] = [];
  show({
    autoStart: true,
    autoSave: true,
    onProgress: ({ progress }) => calls.push(`progress ${progress}`),
    onSuccess: ({ status }) => calls.push(status),
    onError: ({ message }) => calls.push(message),
  });
  await waitFor(() => expect(server.openStreams).toBe(1));
  await change({ status: "processing", progress: 42 });
  await waitFor(() => expect(calls).toContain("progress 42"));
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  await change({ status: "completed", downloadUrl: "http://store.test/x", expiresAt });
  await waitFor(() =>
    expect(document.querySelector("iframe")?.getAttribute("src")).toBe("http://store.test/x"),
  );
  expect(server.count("initiate")).toBe(1);
  expect(calls.at(-1)).toBe("completed");
  expect(calls.filter((call) => call === "completed")).toHaveLength(1);
});

test("onError gets the failure of the job", async () => {
  const errors: Error[] = [];
  show({ onError: (error) => errors.push(error) });
  await start();
  await change({ status: "failed", error: "File 3 does not exist", retryable: false });
  await shown("File 3 does not exist");
  expect(errors.map(({ name }) => name)).toEqual(["JobUnsuccessful"]);
});

test("an error of the storage is shown, and the link stays", async () => {
  show();
  await start();
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
  await change({ status: "completed", downloadUrl: "http://store.test/x", expiresAt });
  fireEvent.click(await screen.findByRole("link", { name: "Save file" }));
  const frame = await waitFor(() => {
    const frame = document.querySelector("iframe");
    if (!frame) throw new Error("no frame");
    return frame;
  });
  act(() => void frame.dispatchEvent(new Event("load")));
  await shown("The file couldn't be saved. Try again in a minute.");
  expect(screen.getByRole("link", { name: "Save file" })).toBeDefined();
});

test.each([
  [GERMAN, "Herunterladen", "In der Warteschlange, beginnt gleich", "Abgebrochen"],
  [FRENCH, "Télécharger", "En attente, démarrage imminent", "Annulé"],
  [SPANISH, "Descargar", "En cola, comenzará pronto", "Cancelada"],
  [JAPANESE, "ダウンロード", "待機中です。まもなく開始します", "キャンセルしました"],
])("a language's pack translates all texts, also announced ones", async (...language) => {
  const [labels, name, queued, cancelled] = language;
  const announced = (text: string) =>
    waitFor(() => expect(screen.getByRole("status").textContent).toBe(text));
  show({ labels });
  fireEvent.click(button(name));
  await shown(queued);
  await waitFor(() => expect(server.openStreams).toBe(1));
  await change({ status: "processing", progress: 30 });
  await announced("25%");
  await change({ status: "cancelled" });
  await announced(cancelled);
  await shown(cancelled);
});

test("labels can be translated", () => {
  show({ labels: { download: "Herunterladen" } });
  expect(button("Herunterladen")).toBeDefined();
});

// During hydration the downloads of this browser are not known yet.
test("after a reload of a server-rendered page, autoStart continues the download", async () => {
  const client = () =>
    new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  await client().start([1, 2, 3]);
  const page = (client: Longhaul) => (
    <LonghaulProvider client={client}>
      <DownloadButton fileIds={[1, 2, 3]} autoStart />
    </LonghaulProvider>
  );
  const root = document.createElement("div");
  root.innerHTML = renderToString(page(client()));
  document.body.append(root);
  const hydrated = await act(async () => hydrateRoot(root, page(client())));
  await shown("Queued, starting soon");
  expect(server.count("initiate")).toBe(1);
  act(() => hydrated.unmount());
  root.remove();
});

// Screen readers such as NVDA ignore changes within a busy element.
test("announcements are not within a busy element", async () => {
  show();
  await start();
  expect(screen.getByRole("status").closest("[aria-busy]")).toBeNull();
});

// docs/clients.md promises browsers that are older than light-dark().
test("browsers without light-dark() get plain colors", () => {
  const css = readFileSync(join(import.meta.dirname, "../button.css"), "utf8");
  const plain = css.replace(/@supports [^{]*\{\s*[^{]*\{[^}]*\}\s*\}/, "");
  expect(plain).not.toContain(": light-dark(");
  const colors = [...css.matchAll(/(--lh-[a-z-]+): light-dark/g)].map(([, name]) => name);
  expect(colors).toHaveLength(5);
  for (const name of colors) expect(plain).toMatch(new RegExp(`${name}: #`));
});
