import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { freshContext, startBrowser } from "./browser.js";
import { FILE } from "./origin.js";
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

async function finished(jobId: string): Promise<string> {
  for (;;) {
    const job = await (await fetch(`${stack.url}/v1/download/status/${jobId}?wait=30`)).json();
    if (["completed", "failed"].includes(job.status)) return job.status;
  }
}

const tile = (name: string) => page.locator(".tile", { hasText: name }).locator("strong");
const section = (name: string) => page.getByRole("region", { name });

test("under load the page shows what the service says, and asks seldom", async () => {
  const busy = [await start(stack.origin.lasting(8)), await start(stack.origin.lasting(8))];
  const waiting = await Promise.all([
    start(stack.origin.lasting(1), "high"),
    ...Array.from({ length: 6 }, () => start(stack.origin.lasting(1), "normal")),
    ...Array.from({ length: 3 }, () => start(stack.origin.lasting(1), "low")),
  ]);
  await page.goto("/operator");
  requests.length = 0;
  const opened = Date.now();
  await expect.poll(() => tile("In progress").textContent(), { timeout: 10_000 }).toBe("2");
  await expect.poll(() => tile("Waiting").textContent(), { timeout: 10_000 }).toBe("10");
  await expect
    .poll(() => section("Waiting by priority").textContent())
    .toMatch(/High1Normal6Low3The oldest has waited/);
  await expect.poll(() => section("In progress").getByRole("listitem").count()).toBe(2);
  for (const jobId of [...busy, ...waiting]) expect(await finished(jobId)).toBe("completed");
  await expect.poll(() => tile("Completed").textContent(), { timeout: 10_000 }).toBe("12");
  await expect.poll(() => tile("Waiting").textContent(), { timeout: 10_000 }).toBe("0");
  const chart = page.getByRole("img", { name: /Finished a minute/ });
  await expect
    .poll(() => chart.locator("rect.bar").count(), { timeout: 20_000 })
    .toBeGreaterThan(0);
  await page.getByRole("img", { name: /Time to the archive, newest: p50 .* s/ }).waitFor();
  expect(requests.length / ((Date.now() - opened) / 1_000)).toBeLessThan(2);
});

test("a failure is listed with its code", async () => {
  await finished(await start([FILE.small(1), FILE.missing]));
  await page.goto("/operator");
  await section("Recent failures").getByText("FILE_NOT_FOUND").waitFor();
});

test("a dead letter is listed, and requeued it succeeds", async () => {
  stack.origin.ill = true;
  const jobId = await start([FILE.sometimes]);
  expect(await finished(jobId)).toBe("failed");
  await page.goto("/operator");
  const row = section("Dead letters")
    .getByRole("listitem")
    .filter({ hasText: jobId.slice(0, 8) });
  await row.waitFor();
  const overhang = "document.documentElement.scrollWidth - window.innerWidth";
  expect(await page.evaluate(overhang)).toBeLessThanOrEqual(0);
  stack.origin.ill = false;
  await row.getByRole("button", { name: "Requeue" }).click();
  await row.waitFor({ state: "detached" });
  expect(await finished(jobId)).toBe("completed");
});

test("a paused queue begins nothing until it is resumed", async () => {
  await page.goto("/operator");
  await page.getByRole("button", { name: "Pause queue" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  const jobId = await start([FILE.small(7), FILE.small(8)]);
  await expect.poll(() => tile("Waiting").textContent(), { timeout: 10_000 }).toBe("1");
  await page.waitForTimeout(3_000);
  expect(await tile("Waiting").textContent()).toBe("1");
  await page.getByRole("button", { name: "Resume queue" }).click();
  expect(await finished(jobId)).toBe("completed");
});

test("an unhealthy part is named", async () => {
  const health = { status: "unhealthy", checks: { redis: "ok", storage: "timeout" } };
  await page.route("**/health", (route) => route.fulfill({ status: 503, json: health }));
  await page.goto("/operator");
  await page.getByText("storage timeout").waitFor();
});

test("where the operator's calls are refused a token opens them, and the rest is shown", async () => {
  const refusal = { status: 403, json: { code: "FORBIDDEN", detail: "Not yours" } };
  await page.route("**/v1/admin/**", (route) =>
    route.request().headers().authorization === "Bearer open sesame"
      ? route.continue()
      : route.fulfill(refusal),
  );
  await page.goto("/operator");
  await tile("Workers").waitFor();
  await page.getByRole("button", { name: "Pause queue" }).click();
  await page.getByRole("alert").getByText("Only operators may do that here").waitFor();
  const token = page.getByLabel("The operator's token:");
  await token.fill("open sesame");
  await token.press("Enter");
  await section("Dead letters").getByText("None.").waitFor();
});

test("where the operator's calls do not exist the page says so", async () => {
  await page.route("**/v1/admin/**", (route) => route.fulfill({ status: 404, json: {} }));
  await page.goto("/operator");
  await section("Dead letters").getByText("Not offered by this service.").waitFor();
});
