import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DownloadPage, freshContext, startBrowser } from "./browser.js";
import { FILE } from "./origin.js";
import { FaultyProxy, type Streams } from "./proxy.js";
import { Stack } from "./stack.js";

let stack: Stack;
let proxy: FaultyProxy;
let browser: Browser;
let context: BrowserContext;
let page: DownloadPage;

beforeAll(async () => {
  stack = await Stack.start();
  proxy = await FaultyProxy.start(stack.url);
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await proxy?.stop();
  await stack?.stop();
});

beforeEach(async () => {
  proxy.reset();
  stack.origin.failing = false;
  context = await freshContext(browser, proxy.url);
  page = await DownloadPage.open(context);
});

afterEach(async () => {
  stack.origin.release();
  expect(page.errors).toEqual([]);
  await context.close();
});

/** Return the maximum number of requests for the job within ten seconds. */
function maxRequests(jobId: string): number {
  const times = proxy.about(jobId).map(({ at }) => at);
  return Math.max(...times.map((at) => times.filter((t) => t >= at && t < at + 10_000).length));
}

function expectRising(progress: number[]): void {
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
}

test("a download can be selected, started, watched and saved", async () => {
  const { origin } = stack;
  const jobId = await page.start([FILE.small(1), ...origin.heldFiles(1), ...origin.slowFiles(4)]);
  await page.expectPhase(jobId, "processing");
  origin.release();
  const progress = await page.progressUntilReady(jobId);
  expect(progress.length).toBeGreaterThan(2);
  expectRising(progress);
  const saving = page.page.waitForEvent("download");
  await page.card(jobId).getByRole("link", { name: "Save file" }).click();
  const file = await (await saving).path();
  execFileSync("python3", ["-m", "zipfile", "-t", file]);
  expect(statSync(file).size).toBeGreaterThan(4 * 4 * 16_384);
  expect(proxy.log.filter(({ path }) => path.includes("/status/")).length).toBe(0);
});

test("a reload during a download keeps its progress and starts no other job", async () => {
  const jobId = await page.start(stack.origin.heldFiles(6));
  await expect.poll(async () => (await page.progress(jobId)) ?? -1).toBeGreaterThan(10);
  const previous = (await page.progress(jobId)) ?? 0;
  await page.page.reload();
  await expect
    .poll(async () => (await page.progress(jobId)) ?? -1)
    .toBeGreaterThanOrEqual(previous);
  stack.origin.release();
  await page.expectPhase(jobId, "ready");
  expect(proxy.log.filter(({ path }) => path.endsWith("/initiate"))).toHaveLength(1);
});

test("the page shows that it is offline, and continues when it is online", async () => {
  const jobId = await page.start(stack.origin.heldFiles(14));
  await expect.poll(() => page.connection(jobId)).toBe("live");
  await context.setOffline(true);
  proxy.streams = "block";
  proxy.dropStreams();
  await expect.poll(() => page.connection(jobId)).toBe("reconnecting");
  await page.page.waitForTimeout(5_000);
  proxy.streams = "pass";
  await context.setOffline(false);
  await expect.poll(() => page.connection(jobId)).not.toBe("reconnecting");
  stack.origin.release();
  expectRising(await page.progressUntilReady(jobId));
  expect(maxRequests(jobId)).toBeLessThan(10);
});

test("a download continues after a restart of the API", async () => {
  const jobId = await page.start(stack.origin.heldFiles(14));
  await expect.poll(async () => (await page.progress(jobId)) ?? -1).toBeGreaterThan(5);
  await stack.kill("api");
  await expect.poll(() => page.connection(jobId)).toBe("reconnecting");
  await stack.startComponent("api");
  stack.origin.release();
  await page.expectPhase(jobId, "ready", 45_000);
  expect(maxRequests(jobId)).toBeLessThan(10);
});

describe("progress is shown, with few requests, with streams that are", () => {
  const faults: Record<string, Streams> = {
    "cut every three seconds": "cut",
    buffered: "buffer",
    blocked: "block",
  };

  test.each(Object.entries(faults))("%s", async (_name, fault) => {
    proxy.streams = fault;
    const { origin } = stack;
    const jobId = await page.start([...origin.heldFiles(1), ...origin.slowFiles(15)]);
    await page.expectPhase(jobId, "processing");
    origin.release();
    const progress = await page.progressUntilReady(jobId);
    expect(progress.length).toBeGreaterThan(4);
    expectRising(progress);
    expect(maxRequests(jobId)).toBeLessThan(10);
  });
});

test("two tabs share one stream, and the second one continues when the first one closes", async () => {
  const jobId = await page.start(stack.origin.heldFiles(12));
  await expect.poll(() => page.connection(jobId)).toBe("live");
  const second = await DownloadPage.open(context);
  await expect.poll(async () => (await second.progress(jobId)) ?? -1).toBeGreaterThan(5);
  const subscribed = () => proxy.about(jobId).filter(({ path }) => path.includes("/subscribe/"));
  expect(subscribed()).toHaveLength(1);
  expect(await second.connection(jobId)).toBe("live");
  await page.page.close();
  await expect.poll(subscribed).toHaveLength(2);
  stack.origin.release();
  expectRising(await second.progressUntilReady(jobId));
  expect(subscribed()).toHaveLength(2);
  expect(second.errors).toEqual([]);
});

test("a failure is explained, and a retry succeeds", async () => {
  stack.origin.failing = true;
  const jobId = await page.start([FILE.small(1), FILE.flaky]);
  await page.expectPhase(jobId, "failed", 45_000);
  expect(await page.card(jobId).locator(".download-status").textContent()).toMatch(/\w+ \w+/);
  stack.origin.failing = false;
  await page.card(jobId).getByRole("button", { name: "Try again" }).click();
  await page.expectPhase(jobId, "ready");
});

test("a missing file can be skipped", async () => {
  const jobId = await page.start([FILE.small(3), FILE.missing]);
  await page.expectPhase(jobId, "failed");
  await page.card(jobId).getByRole("button", { name: "Continue without it" }).click();
  await page.page.locator('[data-phase="ready"]').waitFor();
  await expect.poll(() => page.cards.count()).toBe(1);
});

test("a running download is cancelled within four seconds, and can be removed", async () => {
  const jobId = await page.start(stack.origin.heldFiles(20));
  await expect.poll(async () => (await page.progress(jobId)) ?? -1).toBeGreaterThan(0);
  await page.card(jobId).getByRole("button", { name: "Cancel" }).click();
  await page.expectPhase(jobId, "cancelled", 4_000);
  await page.card(jobId).getByRole("button", { name: "Remove from this list" }).click();
  await expect.poll(() => page.cards.count()).toBe(0);
});

test("several downloads are watched at the same time", async () => {
  const ids = [];
  for (let number = 0; number < 6; number++) ids.push(await page.start(stack.origin.slowFiles(8)));
  for (const jobId of ids) await page.expectPhase(jobId, "ready", 45_000);
  await expect.poll(() => page.page.title()).toBe("Long-running downloads · Longhaul");
  for (const jobId of ids) expect(maxRequests(jobId)).toBeLessThan(10);
});

test("the page can be used with the keyboard", async () => {
  const { keyboard } = page.page;
  await page.page.getByLabel("Files", { exact: true }).focus();
  await keyboard.type(`${FILE.small(4)} ${FILE.small(5)}`);
  await keyboard.press("Enter");
  await page.page.getByRole("button", { name: /^Download 2 files/ }).focus();
  await keyboard.press("Enter");
  await page.page.locator('[data-phase="ready"]').waitFor();
  const details = page.page.getByRole("button", { name: "Details" });
  await details.focus();
  await keyboard.press("Space");
  await expect.poll(() => details.getAttribute("aria-expanded")).toBe("true");
  await page.page
    .getByRole("list", { name: "Files" })
    .getByText(`file-${FILE.small(4)}.txt`)
    .waitFor();
});

test("the keyboard focus is kept when controls disappear", async () => {
  const { keyboard } = page.page;
  const focused = () => page.page.evaluate<string>("document.activeElement?.id ?? ''");
  const press = async (name: string) => {
    await page.page.getByRole("button", { name }).focus();
    await keyboard.press("Enter");
  };
  await page.pick([FILE.small(6), FILE.small(7)]);
  await press(`Remove file ${FILE.small(6)}`);
  const input = page.page.getByLabel("Files", { exact: true });
  await expect.poll(focused).toBe(await input.getAttribute("id"));
  await press("Clear");
  await expect.poll(focused).toBe(await input.getAttribute("id"));
  await keyboard.type(`${FILE.small(8)}`);
  await keyboard.press("Tab");
  await page.page.getByText(`file-${FILE.small(8)}.txt`).waitFor();
  expect(await page.page.evaluate("document.activeElement?.textContent")).toBe("Add");
  await press("Clear");
  const jobId = await page.start(stack.origin.heldFiles(20));
  await press("Cancel");
  await page.expectPhase(jobId, "cancelled");
  const title = page.card(jobId).getByRole("heading");
  await expect.poll(focused).toBe(await title.getAttribute("id"));
  await press("Remove from this list");
  await expect.poll(focused).toBe("list-title");
});
