import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DownloadPage, freshContext, startBrowser } from "./browser.js";
import { FILE } from "./origin.js";
import { Stack } from "./stack.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

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

/** What axe-core holds for a fault of WCAG 2.2 AA, or for bad practice, in short. */
async function faults(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate<AxeResults>("axe.run()");
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Wider than the window means that a phone has to scroll sideways. */
async function overhang(page: Page): Promise<number> {
  return page.evaluate<number>("document.documentElement.scrollWidth - window.innerWidth");
}

const looks: Record<string, BrowserContextOptions> = {
  "on a desktop, light": { colorScheme: "light", viewport: { width: 1280, height: 800 } },
  "on a desktop, dark": { colorScheme: "dark", viewport: { width: 1280, height: 800 } },
  "on a phone, light": { colorScheme: "light", viewport: { width: 360, height: 740 } },
  "on a phone, dark": { colorScheme: "dark", viewport: { width: 360, height: 740 } },
};

describe.each(Object.entries(looks))("%s", (_name, look) => {
  const options = { ...look, reducedMotion: "reduce", bypassCSP: true } as const;

  test("downloads in every state have no fault", async () => {
    const context = await freshContext(browser, stack.url, options);
    const page = await DownloadPage.open(context);
    expect(await faults(page.page)).toEqual([]);
    const ready = await page.start([FILE.small(1), FILE.small(2)]);
    const failed = await page.start([FILE.small(1), FILE.missing]);
    const running = await page.start(stack.origin.lasting(9));
    const cancelled = await page.start(stack.origin.lasting(9));
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
    expect(await faults(page.page)).toEqual([]);
    expect(await overhang(page.page)).toBeLessThanOrEqual(0);
    await context.close();
  });

  test("the operator's page has no fault", async () => {
    const context = await freshContext(browser, stack.url, options);
    stack.origin.ill = true;
    const download = await DownloadPage.open(context);
    await download.expectPhase(await download.start([FILE.sometimes]), "failed");
    await download.start(stack.origin.lasting(9));
    const page = await context.newPage();
    await page.goto("/operator");
    const first = (name: string) =>
      page.getByRole("region", { name }).getByRole("listitem").first().waitFor();
    for (const name of ["Workers", "Recent failures", "Dead letters"]) await first(name);
    await page.getByText(/[1-9] of 8 busy/).waitFor();
    expect(await faults(page)).toEqual([]);
    await page.getByText("24 hours").click();
    await page.getByRole("img", { name: /Finished per hour/ }).waitFor();
    expect(await faults(page)).toEqual([]);
    expect(await overhang(page)).toBeLessThanOrEqual(0);
    await context.close();
  });

  test("the operator's page has no fault where it asks for the token", async () => {
    const context = await freshContext(browser, stack.url, options);
    const page = await context.newPage();
    const refusal = { status: 403, json: { code: "FORBIDDEN", detail: "Not yours" } };
    await page.route("**/v1/admin/**", (route) => route.fulfill(refusal));
    await page.goto("/operator");
    await page.getByLabel("The operator's token:").waitFor();
    await page.getByRole("button", { name: "Pause queue" }).click();
    await page.getByRole("alert").waitFor();
    expect(await faults(page)).toEqual([]);
    expect(await overhang(page)).toBeLessThanOrEqual(0);
    await context.close();
  });
});
