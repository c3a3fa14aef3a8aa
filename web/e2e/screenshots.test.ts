import { join } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DownloadPage, freshContext, startBrowser } from "./browser.js";
import { FILE, FIRST_PLAIN_NAME } from "./origin.js";
import { Stack } from "./stack.js";

/** Screenshots for the documentation are only taken with SCREENSHOTS=1 (`npm run screenshots`). */
const enabled = Boolean(process.env.SCREENSHOTS);
const IMAGES = process.env.SCREENSHOTS_TO ?? join(import.meta.dirname, "../../docs/images");
const LOAD_MINUTES = 2;

let stack: Stack;
let browser: Browser;

beforeAll(async () => {
  if (!enabled) return;
  stack = await Stack.start({ WORKERS: "2", WORKER_CONCURRENCY: "2", MAX_RETRIES: "0" });
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

const desktop: BrowserContextOptions = { viewport: { width: 1280, height: 800 } };
const phone: BrowserContextOptions = { viewport: { width: 390, height: 844 }, isMobile: true };

const USERS = ["ada", "grace", "edsger"];
let created = 0;

async function start(fileIds: number[], priority = "normal"): Promise<void> {
  const user = USERS[created++ % USERS.length] ?? "";
  await fetch(`${stack.url}/v1/download/initiate`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-User-Id": user },
    body: JSON.stringify({ file_ids: fileIds, priority }),
  });
}

test.runIf(enabled)(
  "screenshots of the operator page, after some minutes of load",
  async () => {
    const context = await freshContext(browser, stack.url, desktop);
    const page = await context.newPage();
    await page.goto(stack.operatorPage);
    stack.origin.failing = true;
    const end = Date.now() + LOAD_MINUTES * 60_000;
    for (let round = 0; Date.now() < end; round++) {
      const seconds = 1 + Math.floor(4 * Math.random());
      await start(stack.origin.slowFiles(seconds), ["low", "normal", "normal", "high"][round % 4]);
      if (round % 11 === 10) await start([FILE.small(1), FILE.missing]);
      if (round % 17 === 16) await start([FILE.flaky]);
      await page.waitForTimeout(900);
    }
    for (let more = 0; more < 9; more++)
      await start(stack.origin.slowFiles(8 + more), more % 3 ? "normal" : "low");
    await page.waitForTimeout(7_000);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(500);
      const name = colorScheme === "light" ? "operator-page.png" : "operator-page-dark.png";
      await page.screenshot({ path: join(IMAGES, name), fullPage: true });
    }
    await context.close();
  },
  300_000,
);

test.runIf(enabled).each([
  ["download-page.png", desktop, "light"],
  ["download-page-dark.png", desktop, "dark"],
  ["download-page-phone.png", phone, "light"],
] as const)("screenshot of the download page: %s", async (name, device, colorScheme) => {
  const context = await freshContext(browser, stack.url, { ...device, colorScheme });
  const page = await DownloadPage.open(context);
  const named = [0, 1, 2, 3].map((number) => FILE.named(FIRST_PLAIN_NAME + number));
  await page.expectPhase(await page.start([...named, ...[1, 2, 3].map(FILE.small)]), "ready");
  await page.expectPhase(await page.start([...named.slice(2), FILE.missing]), "failed");
  const running = await page.start(stack.origin.slowFiles(9));
  await page.start(stack.origin.slowFiles(12));
  await expect.poll(() => page.progress(running), { timeout: 20_000 }).not.toBeNull();
  await page.pick(named.slice(1));
  await page.page.waitForTimeout(4_000);
  await page.page.screenshot({ path: join(IMAGES, name), fullPage: true });
  await context.close();
});
