import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DownloadPage, freshContext, startBrowser } from "./browser.js";
import { overflow, violationsOf } from "./checks.js";
import { FILE } from "./origin.js";
import { Stack } from "./stack.js";

let stack: Stack;
let browser: Browser;

beforeAll(async () => {
  stack = await Stack.start({ MAX_RETRIES: "0" });
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

afterEach(() => stack.origin.release());

const devices: Record<string, BrowserContextOptions> = {
  "on a desktop, light": { colorScheme: "light", viewport: { width: 1280, height: 800 } },
  "on a desktop, dark": { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  "on a phone, light": { colorScheme: "light", viewport: { width: 360, height: 740 } },
  "on a phone, dark": { colorScheme: "dark", viewport: { width: 360, height: 740 } },
};

describe.each(Object.entries(devices))("%s", (_name, device) => {
  const options = { ...device, reducedMotion: "reduce", bypassCSP: true } as const;

  test("downloads in every state have no violations", async () => {
    const context = await freshContext(browser, stack.url, options);
    const page = await DownloadPage.open(context);
    expect(await violationsOf(page.page)).toEqual([]);
    const ready = await page.start([FILE.small(1), FILE.small(2)]);
    const failed = await page.start([FILE.small(1), FILE.missing]);
    const running = await page.start(stack.origin.heldFiles(9));
    const cancelled = await page.start(stack.origin.heldFiles(9));
    await page.card(cancelled).getByRole("button", { name: "Cancel" }).click();
    await page.expectPhase(ready, "ready");
    await page.expectPhase(failed, "failed");
    await page.expectPhase(running, "processing");
    await page.expectPhase(cancelled, "cancelled");
    await page.pick([FILE.small(9), FILE.missing]);
    await page.page.getByText("Options").click();
    await page.card(ready).getByRole("button", { name: "Details" }).click();
    await page
      .card(ready)
      .getByText(`file-${FILE.small(2)}.txt`)
      .waitFor();
    expect(await violationsOf(page.page)).toEqual([]);
    expect(await overflow(page.page)).toBeLessThanOrEqual(0);
    await context.close();
  });

  test("the operator page has no violations", async () => {
    const context = await freshContext(browser, stack.url, options);
    stack.origin.failing = true;
    const download = await DownloadPage.open(context);
    await download.expectPhase(await download.start([FILE.flaky]), "failed");
    await download.start(stack.origin.heldFiles(9));
    const page = await context.newPage();
    await page.goto(stack.operatorPage);
    const first = (name: string) =>
      page.getByRole("region", { name }).getByRole("listitem").first().waitFor();
    for (const name of ["Workers", "Recent failures", "Dead letters"]) await first(name);
    await page.getByText(/[1-9] of 8 busy/).waitFor();
    expect(await violationsOf(page)).toEqual([]);
    await page.getByText("24 hours").click();
    await page.getByRole("img", { name: /Finished per hour/ }).waitFor();
    expect(await violationsOf(page)).toEqual([]);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await context.close();
  });

  test("the operator page with the token form has no violations", async () => {
    const context = await freshContext(browser, stack.url, options);
    const page = await context.newPage();
    const forbidden = { status: 403, json: { code: "FORBIDDEN", detail: "Operators only" } };
    await page.route("**/v1/admin/**", (route) => route.fulfill(forbidden));
    await page.goto("/operator");
    const token = page.getByLabel("Operator token:");
    await token.waitFor();
    expect(await violationsOf(page)).toEqual([]);
    await token.fill("wrong");
    await token.press("Enter");
    await page.getByRole("alert").getByText("This token was not accepted.").waitFor();
    expect(await violationsOf(page)).toEqual([]);
    expect(await overflow(page)).toBeLessThanOrEqual(0);
    await context.close();
  });
});
