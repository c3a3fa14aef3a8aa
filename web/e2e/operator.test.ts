import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { freshContext, startBrowser } from "./browser.js";
import { FILE } from "./origin.js";
import { BadProxy, type Streams } from "./proxy.js";
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
  await fetch(`${stack.url}/v1/admin/queue/resume`, { method: "POST" });
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
const badge = () => page.locator(".operator-head .badge[data-connection]");

test("under load the page shows what the service says, live and by one request", async () => {
  const busy = [await start(stack.origin.lasting(8)), await start(stack.origin.lasting(8))];
  const waiting = await Promise.all([
    start(stack.origin.lasting(1), "high"),
    ...Array.from({ length: 6 }, () => start(stack.origin.lasting(1), "normal")),
    ...Array.from({ length: 3 }, () => start(stack.origin.lasting(1), "low")),
  ]);
  await page.goto("/operator");
  await expect.poll(() => tile("In progress").textContent(), { timeout: 10_000 }).toBe("2");
  await expect.poll(() => tile("Waiting").textContent(), { timeout: 10_000 }).toBe("10");
  await expect
    .poll(() => section("Waiting by priority").textContent())
    .toMatch(/High1Normal6Low3The oldest has waited/);
  await section("Workers").getByText("2 of 2 busy").waitFor();
  for (const jobId of busy) {
    const row = section("Workers")
      .getByRole("listitem")
      .filter({ hasText: jobId.slice(0, 8) })
      .last();
    await expect.poll(() => row.textContent(), { timeout: 10_000 }).toMatch(/8 files.*[1-9]\d? %/);
  }
  expect(await badge().textContent()).toBe("Live");
  requests.length = 0;
  const live = Date.now();
  for (const jobId of [...busy, ...waiting]) expect(await finished(jobId)).toBe("completed");
  await expect.poll(() => tile("Completed").textContent(), { timeout: 10_000 }).toBe("12");
  await expect.poll(() => tile("Waiting").textContent(), { timeout: 10_000 }).toBe("0");
  await section("Workers").getByText("0 of 2 busy").waitFor();
  const chart = page.getByRole("img", { name: /Finished per minute/ });
  await expect
    .poll(() => chart.locator("rect.bar").count(), { timeout: 20_000 })
    .toBeGreaterThan(0);
  await page.getByRole("img", { name: /Time to the archive, newest: p50 .* s/ }).waitFor();
  expect(requests.length / ((Date.now() - live) / 1_000)).toBeLessThan(0.3);
});

test("what the service has recorded is charted by the hour", async () => {
  expect(await finished(await start([FILE.small(1)]))).toBe("completed");
  await page.goto("/operator");
  await page.getByText("24 hours").click();
  const chart = page.getByRole("img", { name: /Finished per hour, newest: completed \d+/ });
  await expect
    .poll(() => chart.locator("rect.bar").count(), { timeout: 10_000 })
    .toBeGreaterThan(0);
  await page.getByRole("img", { name: /Time to the archive, newest: p50 \d/ }).waitFor();
});

describe("figures are seen, and no storm of requests, with streams that are", () => {
  const faults: Record<string, Streams> = {
    "cut every three seconds": "cut",
    buffered: "buffer",
    blocked: "block",
  };

  test.each(Object.entries(faults))("%s", async (_name, fault) => {
    const proxy = await BadProxy.start(stack.url);
    try {
      proxy.streams = fault;
      await page.goto(`${proxy.url}/operator`);
      const begun = Date.now();
      for (let round = 0; round < 2; round++) {
        // Longer than the longest gap: a pause between two questions, then a try of a stream.
        const jobId = await start(stack.origin.lasting(12));
        const row = section("Workers").getByText(jobId.slice(0, 8));
        await row.waitFor({ timeout: 10_000 });
        await row.waitFor({ state: "detached", timeout: 30_000 });
      }
      expect(proxy.log.length / ((Date.now() - begun) / 1_000)).toBeLessThan(1);
      if (fault === "block") expect(await badge().textContent()).toBe("Updating");
    } finally {
      await proxy.stop();
    }
  });
});

test("a service that goes away is told, and its return too", async () => {
  await page.goto("/operator");
  await expect.poll(() => badge().textContent()).toBe("Live");
  await stack.kill("api");
  await expect.poll(() => badge().textContent(), { timeout: 10_000 }).toBe("No connection");
  await page.getByText("The server cannot be reached").waitFor();
  await stack.begin("api");
  await expect.poll(() => badge().textContent(), { timeout: 40_000 }).toBe("Live");
  await page.getByText("The server cannot be reached").waitFor({ state: "detached" });
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

test("a paused queue begins nothing until it is resumed, and what runs goes on", async () => {
  await page.goto("/operator");
  const running = [await start(stack.origin.lasting(12)), await start(stack.origin.lasting(12))];
  await section("Workers").getByText("2 of 2 busy").waitFor();
  const waiting = await Promise.all(
    Array.from({ length: 5 }, () => start(stack.origin.lasting(1))),
  );
  await page.getByRole("button", { name: "Pause queue" }).click();
  await page.getByText("Paused", { exact: true }).waitFor();
  for (const jobId of running) expect(await finished(jobId)).toBe("completed");
  await section("Workers").getByText("0 of 2 busy").waitFor();
  await page.waitForTimeout(3_000);
  expect(await tile("Waiting").textContent()).toBe("5");
  expect(await tile("In progress").textContent()).toBe("0");
  await page.getByRole("button", { name: "Resume queue" }).click();
  for (const jobId of waiting) expect(await finished(jobId)).toBe("completed");
  await page.getByText("Paused", { exact: true }).waitFor({ state: "detached" });
});

test("everything can be done by keyboard, and the focus is never lost", async () => {
  stack.origin.ill = true;
  const jobId = await start([FILE.sometimes]);
  expect(await finished(jobId)).toBe("failed");
  stack.origin.ill = false;
  await page.goto("/operator");
  const focused = () => page.evaluate<string>("document.activeElement?.textContent ?? ''");
  await page.getByRole("button", { name: "Pause queue" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused).toBe("Resume queue");
  await page.keyboard.press("Space");
  await expect.poll(focused).toBe("Pause queue");
  await page.getByRole("radio", { name: "10 minutes" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByRole("img", { name: /Finished per hour/ }).waitFor();
  await page.getByRole("button", { name: `Requeue ${jobId.slice(0, 8)}` }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused, { timeout: 10_000 }).toMatch(/^Dead letters/);
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
  await tile("Workers").waitFor();
  for (const name of ["Workers", "Recent failures", "Dead letters"]) {
    await section(name).getByText("Not offered by this service.").waitFor();
  }
});
