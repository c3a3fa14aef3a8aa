import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { freshContext, startBrowser } from "./browser.js";
import { overflow, SCREENS, violationsOf } from "./checks.js";
import { FILE } from "./origin.js";
import { FaultyProxy, type Streams } from "./proxy.js";
import { Stack } from "./stack.js";

let stack: Stack;
let browser: Browser;
let context: BrowserContext;
let page: Page;
const errors: string[] = [];
const requests: number[] = [];

beforeAll(async () => {
  stack = await Stack.start({ WORKER_CONCURRENCY: "2", MAX_RETRIES: "0" });
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

beforeEach(async () => {
  context = await freshContext(browser, stack.url);
  page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => request.url().includes("/v1/") && requests.push(Date.now()));
});

afterEach(async () => {
  stack.origin.release();
  await fetch(`${stack.url}/v1/admin/queue/resume`, {
    method: "POST",
    headers: stack.operator,
  });
  expect(errors).toEqual([]);
  await context.close();
});

async function start(fileIds: number[], priority = "normal"): Promise<string> {
  const response = await fetch(`${stack.url}/v1/download/initiate`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ file_ids: fileIds, priority }),
  });
  expect(response.status).toBe(202);
  return (await response.json()).jobId;
}

async function waitForEnd(jobId: string): Promise<string> {
  for (;;) {
    const job = await (await fetch(`${stack.url}/v1/download/status/${jobId}?wait=30`)).json();
    if (["completed", "failed"].includes(job.status)) return job.status;
  }
}

const tile = (name: string) => page.locator(".tile", { hasText: name }).locator("strong");
const section = (name: string) => page.getByRole("region", { name });
const badge = () => page.locator(".operator-head .badge[data-connection]");

test("under load the page shows live statistics with one request", async () => {
  const busy = [await start(stack.origin.heldFiles(8)), await start(stack.origin.heldFiles(8))];
  const waiting = await Promise.all([
    start(stack.origin.slowFiles(1), "high"),
    ...Array.from({ length: 6 }, () => start(stack.origin.slowFiles(1), "normal")),
    ...Array.from({ length: 3 }, () => start(stack.origin.slowFiles(1), "low")),
  ]);
  await page.goto(stack.operatorPage);
  await expect.poll(() => tile("In progress").textContent()).toBe("2");
  await expect.poll(() => tile("Waiting").textContent()).toBe("10");
  await expect
    .poll(() => section("Waiting by priority").textContent())
    .toMatch(/High1Normal6Low3Oldest waiting for/);
  await section("Workers").getByText("2 of 2 busy").waitFor();
  for (const jobId of busy) {
    const row = section("Workers")
      .getByRole("listitem")
      .filter({ hasText: jobId.slice(0, 8) })
      .last();
    await expect.poll(() => row.textContent()).toMatch(/8 files.*[1-9]\d?%/);
  }
  expect(await badge().textContent()).toBe("Live");
  requests.length = 0;
  const live = Date.now();
  stack.origin.release();
  for (const jobId of [...busy, ...waiting]) expect(await waitForEnd(jobId)).toBe("completed");
  await expect.poll(() => tile("Completed").textContent()).toBe("12");
  await expect.poll(() => tile("Waiting").textContent()).toBe("0");
  await section("Workers").getByText("0 of 2 busy").waitFor();
  const chart = page.getByRole("img", { name: /Finished per minute/ });
  await expect.poll(() => chart.locator("rect.bar").count()).toBeGreaterThan(0);
  await page.getByRole("img", { name: /Time to completion, newest: p50 .* s/ }).waitFor();
  expect(requests.length / ((Date.now() - live) / 1_000)).toBeLessThan(0.3);
});

test("the history is shown by hour", async () => {
  expect(await waitForEnd(await start([FILE.small(1)]))).toBe("completed");
  await page.goto(stack.operatorPage);
  await page.getByText("24 hours").click();
  const chart = page.getByRole("img", { name: /Finished per hour, newest: completed \d+/ });
  await expect.poll(() => chart.locator("rect.bar").count()).toBeGreaterThan(0);
  await page.getByRole("img", { name: /Time to completion, newest: p50 \d/ }).waitFor();
});

describe("statistics are shown, with few requests, with streams that are", () => {
  const faults: Record<string, Streams> = {
    "cut every three seconds": "cut",
    buffered: "buffer",
    blocked: "block",
  };

  test.each(Object.entries(faults))("%s", async (_name, fault) => {
    const proxy = await FaultyProxy.start(stack.url);
    try {
      proxy.streams = fault;
      await page.goto(stack.operatorPage.replace(stack.url, proxy.url));
      const startedAt = Date.now();
      for (let round = 0; round < 2; round++) {
        // Longer than the longest time without data: a pause between two polls, then a stream attempt.
        const jobId = await start(stack.origin.heldFiles(12));
        const row = section("Workers").getByText(jobId.slice(0, 8));
        await row.waitFor();
        stack.origin.release();
        await row.waitFor({ state: "detached", timeout: 30_000 });
      }
      expect(proxy.log.length / ((Date.now() - startedAt) / 1_000)).toBeLessThan(1);
      if (fault === "block") await expect.poll(() => badge().textContent()).toBe("Updating");
    } finally {
      await proxy.stop();
    }
  });
});

test("the page shows when the service is unavailable and when it is back", async () => {
  await page.goto(stack.operatorPage);
  await expect.poll(() => badge().textContent()).toBe("Live");
  await stack.kill("api");
  await expect.poll(() => badge().textContent()).toBe("No connection");
  await page.getByText("Can't reach the server").waitFor();
  await stack.startComponent("api");
  await expect.poll(() => badge().textContent(), { timeout: 40_000 }).toBe("Live");
  await page.getByText("Can't reach the server").waitFor({ state: "detached" });
});

test("a failed job is listed with its error code", async () => {
  await waitForEnd(await start([FILE.small(1), FILE.missing]));
  await page.goto(stack.operatorPage);
  await section("Recent failures").getByText("FILE_NOT_FOUND").waitFor();
});

test("a dead letter is listed and can be requeued", async () => {
  stack.origin.failing = true;
  const jobId = await start([FILE.flaky]);
  expect(await waitForEnd(jobId)).toBe("failed");
  await page.goto(stack.operatorPage);
  const row = section("Dead letters")
    .getByRole("listitem")
    .filter({ hasText: jobId.slice(0, 8) });
  await row.waitFor();
  const overflow = "document.documentElement.scrollWidth - window.innerWidth";
  expect(await page.evaluate(overflow)).toBeLessThanOrEqual(0);
  stack.origin.failing = false;
  await row.getByRole("button", { name: "Requeue" }).click();
  await row.waitFor({ state: "detached" });
  expect(await waitForEnd(jobId)).toBe("completed");
});

test("a paused queue starts no jobs until it is resumed, and running jobs continue", async () => {
  await page.goto(stack.operatorPage);
  const running = [
    await start(stack.origin.heldFiles(12)),
    await start(stack.origin.heldFiles(12)),
  ];
  await section("Workers").getByText("2 of 2 busy").waitFor();
  const waiting = await Promise.all(
    Array.from({ length: 5 }, () => start(stack.origin.slowFiles(1))),
  );
  await page.getByRole("button", { name: "Pause queue" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  stack.origin.release();
  for (const jobId of running) expect(await waitForEnd(jobId)).toBe("completed");
  await section("Workers").getByText("0 of 2 busy").waitFor();
  await page.waitForTimeout(3_000);
  expect(await tile("Waiting").textContent()).toBe("5");
  expect(await tile("In progress").textContent()).toBe("0");
  await page.getByRole("button", { name: "Resume queue" }).click();
  for (const jobId of waiting) expect(await waitForEnd(jobId)).toBe("completed");
  await page.getByText("Paused", { exact: true }).waitFor({ state: "detached" });
});

test("the page can be used with the keyboard, and the focus is kept", async () => {
  stack.origin.failing = true;
  const jobId = await start([FILE.flaky]);
  expect(await waitForEnd(jobId)).toBe("failed");
  stack.origin.failing = false;
  await page.goto(stack.operatorPage);
  const focused = () => page.evaluate<string>("document.activeElement?.textContent ?? ''");
  await page.getByRole("button", { name: "Pause queue" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused).toBe("Resume queue");
  await page.keyboard.press("Space");
  await expect.poll(focused).toBe("Pause queue");
  await page.getByRole("radio", { name: "3 hours" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByRole("img", { name: /Finished per hour/ }).waitFor();
  await page.getByRole("button", { name: `Requeue ${jobId.slice(0, 8)}` }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused).toMatch(/^Dead letters/);
  expect(await waitForEnd(jobId)).toBe("completed");
});

test("a failed health check is shown", async () => {
  const health = { status: "unhealthy", checks: { redis: "ok", storage: "timeout" } };
  await page.route("**/health", (route) => route.fulfill({ status: 503, json: health }));
  await page.goto(stack.operatorPage);
  await page.getByText("storage timeout").waitFor();
});

test("a user without access sees the statistics, and can enter a token", async () => {
  await page.goto("/operator");
  await tile("Workers").waitFor();
  // No button for what they may not do.
  const buttons = page.getByRole("button", { name: /Pause queue|Requeue|Sign out/ });
  expect(await buttons.count()).toBe(0);
  const token = page.getByLabel("Operator token:");
  await token.fill("wrong");
  await token.press("Enter");
  await page.getByRole("alert").getByText("This token was not accepted.").waitFor();
  await token.fill(stack.operator.Authorization?.slice("Bearer ".length) ?? "");
  await token.press("Enter");
  await section("Dead letters").getByText("No dead letters.").waitFor();
  await page.getByRole("button", { name: "Pause queue" }).waitFor();
});

test("signing in and out in one tab does so in all tabs", async () => {
  await page.goto("/operator");
  const other = await context.newPage();
  await other.goto("/operator?view=jobs");
  await other.getByLabel("Operator token:").waitFor();
  const token = page.getByLabel("Operator token:");
  await token.fill(stack.operator.Authorization?.slice("Bearer ".length) ?? "");
  await token.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await other.getByRole("list", { name: "Found jobs" }).waitFor();
  expect(new URL(other.url()).search).toBe("?view=jobs");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Operator token:").waitFor();
  await other.getByLabel("Operator token:").waitFor();
  await other.close();
});

test("the link with the token opens the page, and the token leaves the address bar", async () => {
  const sent: string[] = [];
  page.on("request", (request) => sent.push(`${request.url()} ${request.headers().referer}`));
  await page.goto(stack.operatorPage);
  await section("Dead letters").getByText("No dead letters.").waitFor();
  expect(page.url()).toBe(`${stack.url}/operator`);
  await page.reload();
  await section("Dead letters").getByText("No dead letters.").waitFor();
  const secret = stack.operatorPage.split("=")[1] as string;
  // Playwright's URLs contain the fragment of a navigation, which browsers do not send.
  expect(sent.slice(1).filter((request) => request.includes(secret))).toEqual([]);
});

test("the page shows if the operator API is not available", async () => {
  const json = { code: "NOT_FOUND" };
  await page.route("**/v1/admin/**", (route) => route.fulfill({ status: 404, json }));
  await page.goto("/operator");
  await tile("Workers").waitFor();
  for (const name of ["Workers", "Recent failures", "Dead letters"]) {
    await section(name).getByText("Not available on this server.").waitFor();
  }
});

const title = () => page.title();
const jobRow = (jobId: string) =>
  page.getByRole("list", { name: "Found jobs" }).locator("li", { hasText: jobId.slice(0, 8) });

test("one sentence says how the service is, also in the title of the tab", async () => {
  await page.goto(stack.operatorPage);
  const summary = page.locator(".summary-text");
  // Earlier tests may have left failed jobs.
  const usual = /^(All well|\d+ of the last \d+ job runs failed)$/;
  await expect.poll(() => summary.textContent()).toMatch(usual);
  const isInTitle = async () =>
    (await title()).endsWith(`${await summary.textContent()} · Longhaul`);
  await expect.poll(isInTitle).toBe(true);
  await page.getByRole("button", { name: "Pause queue" }).click();
  await expect.poll(() => summary.textContent()).toBe("The queue is paused");
  await expect.poll(title).toBe("⚠ The queue is paused · Longhaul");
  await page.getByRole("button", { name: "Resume queue" }).click();
  await expect.poll(() => summary.textContent()).toMatch(usual);
  await stack.kill("worker-1");
  try {
    await start([FILE.small(1), FILE.small(2), FILE.small(3)]);
    await expect
      .poll(() => summary.textContent(), { timeout: 30_000 })
      .toMatch(/^No workers are running(: nothing has run since \d\d:\d\d)?$/);
  } finally {
    await stack.startComponent("worker-1");
  }
  await expect.poll(() => summary.textContent(), { timeout: 30_000 }).toMatch(usual);
});

test("figures that are not current are dimmed and say how old they are", async () => {
  const own = await freshContext(browser, stack.url, { bypassCSP: true });
  const screen = await own.newPage();
  await screen.goto(stack.operatorPage);
  const live = screen.locator(".operator-head .badge[data-connection=live]");
  await live.waitFor();
  await stack.kill("api");
  try {
    await screen.getByText(/^As of \d/).waitFor({ timeout: 20_000 });
    await expect.poll(() => screen.title()).toMatch(/^⚠ Can't reach the server; figures are from/);
    if (process.env.PICTURES) {
      await screen.screenshot({ path: `${process.env.PICTURES}/stale.png`, fullPage: true });
    }
    expect(await violationsOf(screen)).toEqual([]);
  } finally {
    await stack.startComponent("api");
  }
  await screen.getByText(/^As of \d/).waitFor({ state: "detached", timeout: 40_000 });
  await own.close();
});

test("the charts show what happened before the page was opened", async () => {
  expect(await waitForEnd(await start([FILE.small(1)]))).toBe("completed");
  await page.goto(stack.operatorPage);
  await page.getByRole("img", { name: /Time to completion, newest: p50 \d/ }).waitFor();
});

test("why a job failed is found from the page, and the job is retried there", async () => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const jobId = await start([FILE.small(1), FILE.missing]);
  expect(await waitForEnd(jobId)).toBe("failed");
  await page.goto(stack.operatorPage);
  await page.getByRole("link", { name: "Jobs", exact: true }).click();
  await page.getByLabel("Status").selectOption("failed");
  await expect.poll(() => new URL(page.url()).search).toBe("?view=jobs&status=failed");
  await page.getByLabel("Job ID").fill(jobId.slice(0, 10));
  await page.keyboard.press("Enter");
  await jobRow(jobId).getByText("FILE_NOT_FOUND").waitFor();
  await page.reload();
  await jobRow(jobId).getByRole("link").click();
  const timeline = page.locator(".timeline");
  await timeline.getByText("failed").waitFor();
  expect(await timeline.textContent()).toMatch(/queued.*processing.*attempt 1.*failed.*FILE_NOT/);
  await page.getByRole("button", { name: "Copy job ID" }).click();
  await page.getByText("Copied").waitFor();
  expect(await page.evaluate("navigator.clipboard.readText()")).toBe(jobId);
  await page.getByRole("button", { name: "Retry…" }).click();
  await page.getByRole("button", { name: "Retry 1 job" }).click();
  await page.getByText("1 job retried.").waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await timeline.getByText("Operator: retry").waitFor();
  expect(await waitForEnd(jobId)).toBe("failed");
  await page.goBack();
  await jobRow(jobId).waitFor();
});

test("an invalid filter is explained at its field", async () => {
  await page.goto(stack.operatorPage);
  await page.goto("/operator?view=jobs&errorCode=a");
  await page.locator("label", { hasText: "Error code" }).getByText("Must be an error").waitFor();
});

test("a failing source is shown with its status, and who cancelled the job", async () => {
  stack.origin.failing = true;
  const failed = await start([FILE.flaky]);
  expect(await waitForEnd(failed)).toBe("failed");
  stack.origin.failing = false;
  await page.goto(stack.operatorPage);
  await page.goto(`/operator?job=${failed}`);
  const file = page.locator(".job-page .rows li", { hasText: String(FILE.flaky) });
  await expect.poll(() => file.textContent()).toMatch(/\(HTTP 50\d\).*failed/);
  const cancelled = await start(stack.origin.heldFiles(8));
  await fetch(`${stack.url}/v1/download/${cancelled}`, {
    method: "DELETE",
    headers: stack.operator,
  });
  await page.goto(`/operator?job=${cancelled}`);
  await page.locator(".timeline").getByText("by an operator").waitFor();
  await page.locator(".timeline").getByText("Operator: cancel").waitFor();
});

test("many jobs are prioritized and cancelled by a filter, after a preview", async () => {
  await page.goto(stack.operatorPage);
  await page.getByRole("button", { name: "Pause queue" }).click();
  await page.getByRole("button", { name: "Resume queue" }).waitFor();
  const waiting = await Promise.all(
    Array.from({ length: 7 }, () => start(stack.origin.slowFiles(1), "low")),
  );
  await page.goto("/operator?view=jobs&status=queued&priority=low");
  await jobRow(waiting[0] as string).waitFor();
  await page.getByRole("button", { name: "Set priority…" }).click();
  await page.getByText("This applies to 7 jobs.").waitFor();
  await page.getByLabel("New priority").selectOption("high");
  await page.getByRole("button", { name: "Set priority 7 jobs" }).click();
  await page.getByText("7 jobs moved.").waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByText("No jobs found.").waitFor();
  await page.getByLabel("Priority").selectOption("high");
  await jobRow(waiting[6] as string).waitFor();
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Keep as is" }).click();
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel 7 jobs" }).click();
  await page.getByText("7 jobs cancelled.").waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByText("No jobs found.").waitFor();
  await page.getByRole("link", { name: "Audit log" }).click();
  const newest = section("Audit log").getByRole("listitem").first();
  await expect.poll(() => newest.textContent()).toMatch(/cancel.*7 jobs.*with the operator token/);
});

describe("jobs, a job, its dialog and the audit log have no violations", () => {
  test.each(Object.entries(SCREENS))("%s", async (name, options) => {
    const jobId = await start([FILE.small(1), FILE.missing]);
    expect(await waitForEnd(jobId)).toBe("failed");
    // CSP would keep axe out of the page.
    const own = await freshContext(browser, stack.url, { ...options, bypassCSP: true });
    try {
      const screen = await own.newPage();
      await screen.goto(stack.operatorPage);
      await screen.locator(".summary-text").waitFor();
      const check = async (view: string) => {
        if (process.env.PICTURES) {
          const path = `${process.env.PICTURES}/${name} ${view}.png`.replaceAll(/[ ,%]+/g, "-");
          await screen.screenshot({ path, fullPage: true });
        }
        expect(await violationsOf(screen), view).toEqual([]);
        expect(await overflow(screen), view).toBeLessThanOrEqual(0);
      };
      await check("overview");
      await screen.goto("/operator?view=jobs");
      await screen.getByText(jobId.slice(0, 8)).waitFor();
      await check("jobs");
      await screen.goto(`/operator?job=${jobId}`);
      await screen.locator(".timeline li").first().waitFor();
      await check("job");
      await screen.getByRole("button", { name: "Retry…" }).click();
      await screen.getByText("This applies to 1 job.").waitFor();
      await check("dialog");
      await screen.goto("/operator?view=audit");
      await screen.getByRole("heading", { name: "Audit log" }).waitFor();
      await check("audit log");
    } finally {
      await own.close();
    }
  });
});
