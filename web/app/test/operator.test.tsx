// @vitest-environment happy-dom
import {
  ApiProblem,
  type ExploredJob,
  type ListedJob,
  type Longhaul,
  type ServiceSummary,
} from "@longhaul/client";
import { LonghaulProvider } from "@longhaul/react";
import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ActionDialog, type Target } from "../src/operator/action-dialog.js";
import { JobPage } from "../src/operator/job.js";
import { Jobs } from "../src/operator/jobs.js";
import { urlOf, type View, viewOf } from "../src/operator/location.js";
import OperatorPage from "../src/operator/page.js";
import { bucketsOf, hoursOf, mergeSamples } from "../src/operator/samples.js";
import { headlineOf, isStale, Summary } from "../src/operator/summary.js";
import {
  authorization,
  followOtherTabs,
  followTokenLinks,
  takeTokenFromUrl,
} from "../src/operator/token.js";

const JOB = "0a000000-0000-4000-8000-000000000001";
const WELL: ServiceSummary = { level: "info", message: "All well", idleSince: null, reasons: [] };
const LIVE = { at: 1, connection: "live", error: null } as const;

afterEach(() => {
  cleanup();
  window.localStorage.clear();
  window.history.replaceState(null, "", "/operator");
});

function provide(operator: object) {
  const client = { operator } as unknown as Longhaul;
  return {
    wrapper: ({ children }: { children: React.ReactNode }) => (
      <LonghaulProvider client={client}>{children}</LonghaulProvider>
    ),
  };
}

test.each<View>([
  { name: "overview" },
  { name: "audit" },
  { name: "job", jobId: JOB },
  { name: "jobs", filter: {} },
  {
    name: "jobs",
    filter: { status: "failed", user: "a b&c", q: "0a", to: "2026-01-01T00:00:00Z" },
  },
])("a view has a URL: %j", (view) => {
  expect(viewOf(urlOf(view).replace("/operator", ""))).toEqual(view);
});

test("unknown and empty conditions in the URL are left out", () => {
  expect(viewOf("?view=jobs&status=&mood=good&user= ada ")).toEqual({
    name: "jobs",
    filter: { user: "ada" },
  });
});

test("the headline says what is wrong and since when nothing has run", () => {
  expect(headlineOf({ summary: WELL, ...LIVE })).toEqual({ level: "info", text: "All well" });
  const down: ServiceSummary = {
    ...WELL,
    level: "critical",
    message: "The object storage is unavailable",
    idleSince: new Date(new Date().setHours(14, 41)).toISOString(),
  };
  const { level, text } = headlineOf({ summary: down, ...LIVE });
  expect(level).toBe("critical");
  expect(text).toMatch(
    /^The object storage is unavailable: nothing has run since (14:41|02:41 PM)$/,
  );
});

test("without a connection the headline is the reason and the age of the figures", () => {
  const error = new Error("Can't reach the server");
  const at = new Date().setHours(9, 5);
  const { level, text } = headlineOf({ summary: WELL, at, connection: "reconnecting", error });
  expect(level).toBe("critical");
  expect(text).toMatch(/^Can't reach the server; figures are from 09:05/);
  expect(isStale("reconnecting")).toBe(true);
  expect(isStale("polling")).toBe(false);
});

test("the headline is the title of the tab, and other reasons are listed", () => {
  const summary: ServiceSummary = {
    level: "warning",
    message: "The queue is paused",
    idleSince: null,
    reasons: [
      { code: "PAUSED", level: "warning", message: "The queue is paused" },
      { code: "RETRYING", level: "info", message: "Some jobs wait for their next attempt" },
    ],
  };
  const view = render(<Summary summary={summary} {...LIVE} />);
  expect(document.title).toBe("⚠ The queue is paused · Longhaul");
  expect(screen.getByRole("status").textContent).toBe("The queue is paused");
  expect(screen.getAllByRole("listitem").map((item) => item.textContent)).toEqual([
    "Some jobs wait for their next attempt",
  ]);
  view.rerender(<Summary summary={WELL} {...LIVE} />);
  expect(document.title).toBe("All well · Longhaul");
  view.rerender(<Summary summary={null} {...LIVE} />);
  expect(document.title).toBe("Operations · Longhaul");
});

test("the server's samples fill the charts when the page is opened", () => {
  const start = 1_800_000_000_000;
  const none = { p50: null, p95: null, p99: null };
  const recorded = Array.from({ length: 120 }, (_, minute) => ({
    at: new Date(start + minute * 60_000).toISOString(),
    ...{ waiting: 0, processing: 0, retrying: 0, workers: 1, paused: false },
    ...{ started: 0, completed: minute * 4, failed: 0, cancelled: 0, ...none },
  }));
  const now = start + 120 * 60_000;
  const samples = mergeSamples(recorded, [{ at: now, completed: 480, failed: 0, ...none }]);
  const columns = bucketsOf(samples, now, 300_000, 36);
  expect(columns.slice(0, 11).every(({ completed }) => completed === null)).toBe(true);
  expect(columns.slice(12).every(({ completed }) => completed === 4)).toBe(true);
  expect(hoursOf(samples, now).at(-2)?.completed).toBe(240);
});

const listed = (jobId: string): ListedJob => ({
  ...{ jobId, userId: "ada", status: "failed", version: 3, priority: "normal", progress: 40 },
  ...{ totalFiles: 2, fileSize: null, attempt: 1, maxAttempts: 4, retryAt: null, worker: "w1" },
  ...{ error: "File 1 does not exist", errorCode: "FILE_NOT_FOUND" },
  ...{ createdAt: new Date().toISOString(), startedAt: null, completedAt: null },
  updatedAt: new Date().toISOString(),
});

test("older jobs are added to the list, and the search stays in the URL", async () => {
  const pages = [
    { jobs: [listed(JOB)], nextCursor: "next", history: "ok", partial: false },
    { jobs: [listed(JOB.replace("0a", "0b"))], nextCursor: null, history: "ok", partial: false },
  ];
  const jobs = vi.fn(async (_filter, page) => pages[page.cursor ? 1 : 0]);
  render(<Jobs filter={{ status: "failed" }} />, provide({ jobs }));
  fireEvent.click(await screen.findByRole("button", { name: "Show older jobs" }));
  await screen.findByText("0b000000");
  expect(screen.getByText("0a000000").closest("a")?.getAttribute("href")).toBe(
    `/operator?job=${JOB}`,
  );
  expect(screen.queryByRole("button", { name: "Show older jobs" })).toBeNull();
  expect(jobs.mock.calls.map(([filter]) => filter)).toEqual([
    { status: "failed" },
    { status: "failed" },
  ]);
  fireEvent.change(screen.getByLabelText("User"), { target: { value: " ada " } });
  fireEvent.click(screen.getByRole("button", { name: "Search" }));
  expect(window.location.search).toBe("?view=jobs&status=failed&user=ada");
});

test("a list that may be incomplete says so", async () => {
  const page = { jobs: [], nextCursor: null, history: "unavailable", partial: true };
  render(<Jobs filter={{}} />, provide({ jobs: async () => page }));
  await screen.findByText(/The history is unavailable.*too many jobs/);
  await screen.findByText("No jobs found.");
});

test("an invalid filter is explained at its field", async () => {
  const errors = { errorCode: ["Must be an error code."] };
  const body = { code: "VALIDATION_ERROR", detail: "Some fields are invalid.", errors };
  const jobs = async () => {
    throw new ApiProblem(new Response(null, { status: 400 }), body);
  };
  render(<Jobs filter={{ errorCode: "a" }} />, provide({ jobs }));
  await screen.findByText("Some fields are invalid. errorCode: Must be an error code.");
  const field = screen.getByLabelText(/^Error code/);
  expect(field.getAttribute("aria-invalid")).toBe("true");
  expect(screen.getByLabelText("User").getAttribute("aria-invalid")).toBe("false");
});

test("the buttons for all found jobs say which jobs they are for", async () => {
  const page = { jobs: [listed(JOB)], nextCursor: null, history: "ok", partial: false };
  render(<Jobs filter={{}} />, provide({ jobs: async () => page }));
  const retry = await screen.findByRole("button", { name: "Retry failed…" });
  const requeue = screen.getByRole("button", { name: "Requeue dead letters…" });
  expect(retry.title).toMatch(/^Failed jobs run again with all attempts/);
  expect(requeue.title).toMatch(/only dead letters run again/);
});

test("a job shows why it was returned to the queue, who cancelled it, and why a file failed", async () => {
  const entry = {
    ...{ kind: "state", version: null, attempt: null, worker: null, at: "2026-01-01T00:00:00Z" },
    ...{ errorCode: null, error: null, detail: null },
  };
  const found = {
    job: { jobId: JOB, status: "cancelled", error: null, attempt: 1, maxAttempts: 4 },
    ...{ user: "ada", worker: null, traceId: null, history: "ok", actions: [] },
    timeline: [
      { ...entry, text: "queued", detail: "The worker is shutting down." },
      { ...entry, text: "cancelled", detail: "by its owner" },
      { ...entry, kind: "operator", text: "retry" },
    ],
    files: [
      {
        ...{ file_id: 7, state: "failed", size: null, fileName: null },
        ...{ errorCode: "NETWORK_ERROR", error: "File 7: unavailable (HTTP 500)" },
      },
    ],
  } as unknown as ExploredJob;
  render(<JobPage jobId={JOB} />, provide({ job: async () => found }));
  await screen.findByText("The worker is shutting down.");
  screen.getByText("by its owner");
  screen.getByText("with the operator token");
  screen.getByText("File 7: unavailable (HTTP 500)");
});

test("the page asks for the token on top, and says what to do if it was not accepted", async () => {
  const forbidden = async () => {
    throw new ApiProblem(new Response(null, { status: 403 }), { code: "FORBIDDEN" });
  };
  const pending = () => new Promise(() => undefined);
  const operator = {
    ...{ watch: forbidden, health: pending, statistics: pending, samples: pending },
    ...{ analytics: pending, deadLetters: forbidden, overview: forbidden },
  };
  const view = render(<OperatorPage />, provide(operator));
  const field = await screen.findByLabelText("Operator token:");
  const position = field.compareDocumentPosition(screen.getByRole("navigation"));
  expect(position & Node.DOCUMENT_POSITION_FOLLOWING).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
  view.unmount();
  window.localStorage.setItem("longhaul:operator-token", "wrong");
  render(<OperatorPage />, provide(operator));
  expect((await screen.findByRole("alert")).textContent).toMatch(/not accepted.*Check that/);
});

const RESULT = { action: "cancel", dryRun: false, asOf: "2026-01-01T00:00:00.000Z", more: false };

function openDialog(target: Target, ...results: object[]) {
  const act = vi.fn(async (_request: object) => results.shift());
  const onClose = vi.fn();
  render(<ActionDialog action="cancel" target={target} onClose={onClose} />, provide({ act }));
  return { act, onClose };
}

test("an action counts first, and changes in batches only what was counted", async () => {
  const { act } = openDialog(
    { filter: { user: "ada" } },
    { ...RESULT, dryRun: true, matched: 3, changed: 0, remaining: 3, rejected: [] },
    { ...RESULT, matched: 3, changed: 2, remaining: 1, rejected: [] },
    { ...RESULT, matched: 1, changed: 1, remaining: 0, rejected: [] },
  );
  await screen.findByText("This applies to 3 jobs.");
  fireEvent.click(screen.getByRole("button", { name: "Cancel 3 jobs" }));
  await screen.findByText("3 jobs cancelled.");
  const filter = { user: "ada", to: RESULT.asOf };
  expect(act.mock.calls.map(([request]) => request)).toEqual([
    { action: "cancel", filter: { user: "ada" }, dryRun: true },
    { action: "cancel", filter },
    { action: "cancel", filter },
  ]);
});

test("an action that would change nothing cannot be confirmed", async () => {
  const none = { ...RESULT, dryRun: true, matched: 0, changed: 0, remaining: 0, rejected: [] };
  openDialog({ filter: {} }, none);
  await screen.findByText("No jobs match.");
  expect(screen.queryByRole("button", { name: /^Cancel/ })).toBeNull();
});

// Jobs that have the priority already do not count, so each priority has its own number.
test("jobs are counted again when the priority changes, also after the page renders again", async () => {
  const counts = { high: 0, normal: 2, low: 5 };
  const act = vi.fn(async ({ priority }: { priority: keyof typeof counts }) => ({
    ...{ ...RESULT, matched: counts[priority], changed: 0, remaining: 0, rejected: [] },
  }));
  const dialog = () => (
    <ActionDialog action="prioritize" target={{ filter: {} }} onClose={() => undefined} />
  );
  const view = render(dialog(), provide({ act }));
  await screen.findByText("No jobs match.");
  view.rerender(dialog());
  fireEvent.change(screen.getByLabelText("New priority"), { target: { value: "low" } });
  screen.getByText("Counting…");
  expect(screen.queryByRole("button", { name: /^Set priority/ })).toBeNull();
  await screen.findByRole("button", { name: "Set priority 5 jobs" });
  expect(act.mock.calls.map(([request]) => request)).toEqual([
    { action: "prioritize", filter: {}, priority: "high", dryRun: true },
    { action: "prioritize", filter: {}, priority: "low", dryRun: true },
  ]);
});

test("jobs that could not be changed are named, and the action ends", async () => {
  const rejected = [{ jobId: JOB, errorCode: "JOB_CONFLICT", error: "It has ended." }];
  const { act } = openDialog(
    { filter: {} },
    { ...RESULT, dryRun: true, matched: 600, changed: 0, remaining: 600, rejected: [] },
    { ...RESULT, matched: 600, changed: 0, remaining: 599, rejected },
  );
  fireEvent.click(await screen.findByRole("button", { name: "Cancel 600 jobs" }));
  await screen.findByText("It has ended.", { exact: false });
  await waitFor(() => expect(act).toHaveBeenCalledTimes(2));
});

test("each named job is tried once", async () => {
  const jobIds = ["a", "b", "c"];
  const { act } = openDialog(
    { jobIds },
    { ...RESULT, dryRun: true, matched: 3, changed: 0, remaining: 3, rejected: [] },
    { ...RESULT, matched: 3, changed: 1, remaining: 2, rejected: [] },
    { ...RESULT, matched: 2, changed: 0, remaining: 1, rejected: [] },
    { ...RESULT, matched: 1, changed: 1, remaining: 0, rejected: [] },
  );
  fireEvent.click(await screen.findByRole("button", { name: "Cancel 3 jobs" }));
  await screen.findByText("2 jobs cancelled.");
  expect(act.mock.calls.slice(1).map(([request]) => request)).toEqual([
    { action: "cancel", jobIds },
    { action: "cancel", jobIds: ["b", "c"] },
    { action: "cancel", jobIds: ["c"] },
  ]);
});

// Closing the dialog means that nothing more happens.
test.each(["Stop", "unmount"])("%s ends an action after the current batch", async (how) => {
  const batch = { ...RESULT, matched: 900, changed: 300, remaining: 600, rejected: [] };
  let respond: (result: object) => void = () => undefined;
  const act = vi.fn(({ dryRun }: { dryRun?: boolean }) =>
    dryRun
      ? Promise.resolve({ ...batch, dryRun, changed: 0 })
      : new Promise<object>((resolve) => {
          respond = resolve;
        }),
  );
  const onClose = vi.fn();
  const dialog = <ActionDialog action="cancel" target={{ filter: {} }} onClose={onClose} />;
  const view = render(dialog, provide({ act }));
  fireEvent.click(await screen.findByRole("button", { name: "Cancel 900 jobs" }));
  const stop = await screen.findByRole("button", { name: "Stop" });
  expect(screen.queryByRole("button", { name: "Keep as is" })).toBeNull();
  if (how === "Stop") fireEvent.click(stop);
  else view.unmount();
  if (how === "Stop") expect(onClose).toHaveBeenCalledWith(true);
  respond(batch);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(act).toHaveBeenCalledTimes(2);
});

const { reload } = window.location;

beforeEach(() => {
  window.location.reload = vi.fn();
  return () => {
    window.location.reload = reload;
  };
});

test("one sign-in is for all tabs", () => {
  window.history.replaceState(null, "", "/operator?view=jobs#token=secret");
  takeTokenFromUrl();
  expect(window.location.hash).toBe("");
  expect(window.location.search).toBe("?view=jobs");
  expect(authorization()).toEqual({ Authorization: "Bearer secret" });
  expect(window.localStorage.getItem("longhaul:operator-token")).toBe("secret");
  followOtherTabs();
  const key = "longhaul:operator-token";
  window.dispatchEvent(new StorageEvent("storage", { key: "other", newValue: "x" }));
  expect(window.location.reload).not.toHaveBeenCalled();
  window.dispatchEvent(new StorageEvent("storage", { key, oldValue: "secret", newValue: null }));
  expect(window.location.reload).toHaveBeenCalled();
});

// The browser does not load the page again for a link that differs only in its hash.
test("a token link that is opened in an open page signs in and leaves the address bar", () => {
  followTokenLinks();
  window.history.replaceState(null, "", "/operator#token=newer");
  window.dispatchEvent(new Event("hashchange"));
  expect(window.location.hash).toBe("");
  expect(authorization()).toEqual({ Authorization: "Bearer newer" });
  expect(window.location.reload).toHaveBeenCalledOnce();
});
