import { createHmac } from "node:crypto";
import { join } from "node:path";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DownloadPage, freshContext, startBrowser } from "./browser.js";
import { overflow, SCREENS, violationsOf } from "./checks.js";
import { FILE, FIRST_PLAIN_NAME, NAMES } from "./origin.js";
import { Stack } from "./stack.js";

/** Where to store a picture of every state; none by default. */
const PICTURES = process.env.PICTURES;

let stack: Stack;
let browser: Browser;
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  stack = await Stack.start({ RETRY_BASE_DELAY: "40", MAX_RETRIES: "2" });
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

afterEach(async () => {
  stack.origin.failing = false;
  stack.origin.late = false;
  stack.origin.release();
  for (const context of contexts.splice(0)) await context.close();
});

async function newContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await freshContext(browser, stack.url, { reducedMotion: "reduce", ...options });
  contexts.push(context);
  return context;
}

const open = async (options?: BrowserContextOptions) =>
  DownloadPage.open(await newContext(options));

async function picture(page: Page, name: string): Promise<void> {
  if (!PICTURES) return;
  await page.screenshot({
    path: join(PICTURES, `${name.replace(/[^a-z0-9]+/gi, "-")}.png`),
    fullPage: true,
  });
}

const named = NAMES.slice(0, FIRST_PLAIN_NAME).map((_name, number) => FILE.named(number));

describe.each(Object.entries(SCREENS))("%s", (name, screen) => {
  test("real file names, in every state, fit and have no violations", async () => {
    const page = await open({ ...screen, bypassCSP: true });
    await page.pick(named);
    await page.page.getByText("Options").click();
    for (const name of NAMES.slice(0, 4)) await page.page.getByTitle(name).waitFor();
    expect(await overflow(page.page)).toBeLessThanOrEqual(0);
    expect(await violationsOf(page.page)).toEqual([]);
    await picture(page.page, `names ${name}`);
    await page.page.reload();
    await page.page.getByRole("heading", { level: 1 }).waitFor();
    const ready = [];
    for (const id of named) {
      const jobId = await page.start([id, FILE.small(1), FILE.small(2)]);
      await page.expectPhase(jobId, "ready");
      ready.push(jobId);
    }
    const running = await page.start([FILE.named(3), ...stack.origin.heldFiles(12)]);
    await page.expectPhase(running, "processing");
    for (const jobId of ready.slice(0, 2)) {
      await page.card(jobId).getByRole("button", { name: "Details" }).click();
      await page.card(jobId).getByText("Archive name").waitFor();
    }
    await page
      .card(ready[0] ?? "")
      .getByText("file-10001.txt")
      .waitFor();
    expect(await overflow(page.page)).toBeLessThanOrEqual(0);
    expect(await violationsOf(page.page)).toEqual([]);
    await picture(page.page, `cards ${name}`);
    await page.card(running).getByRole("button", { name: "Cancel" }).click();
  });
});

test("a name with a direction override does not look like another type", async () => {
  const page = await open();
  const jobId = await page.start([FILE.named(4), FILE.small(1)]);
  await page.expectPhase(jobId, "ready");
  await page.expectTitle(jobId, "invoicetxt.exe and 1 more");
});

test("cards tell downloads apart by their first file", async () => {
  const page = await open();
  const jobId = await page.start(Array.from({ length: 8 }, (_, n) => FILE.small(n + 1)));
  await page.expectTitle(jobId, "file-10001.txt and 7 more");
});

test("an incomplete archive says what is missing, and the file can be tried again", async () => {
  stack.origin.late = true;
  const page = await open();
  await page.pick([FILE.small(1), FILE.late]);
  await page.page.getByText("Options").click();
  await page.page.getByText("Skip it").click();
  await page.page.getByRole("button", { name: /^Download 2/ }).click();
  await page.page.locator('[data-phase="ready"]').waitFor();
  const card = page.cards.first();
  await card.getByText(/^Ready, 1 of 2 files missing/).waitFor();
  const missing = card.getByRole("list", { name: "Missing files" });
  await missing.getByText("File 30405 does not exist").waitFor();
  await picture(page.page, "incomplete");
  stack.origin.late = false;
  await card.getByRole("button", { name: "Try the missing file again" }).click();
  await card.getByText(/^Ready · /).waitFor({ timeout: 30_000 });
  expect(await card.getByRole("list", { name: "Missing files" }).count()).toBe(0);
});

test("an archive says until when it is available, expires by itself, and starts again", async () => {
  const page = await open();
  await page.page.clock.install();
  await page.page.reload();
  const jobId = await page.start([FILE.small(1), FILE.small(2)]);
  await page.expectPhase(jobId, "ready");
  await page
    .card(jobId)
    .getByText(/^Ready · Available until \d{2}:\d{2} tomorrow$/)
    .waitFor();
  // The page asks the API, whatever the device's clock says.
  const url = `/v1/download/status/${jobId}`;
  const job = await (await page.page.request.get(url)).json();
  const expired = { ...job, version: job.version + 1, status: "expired", downloadUrl: null };
  await page.page.route(`**${url}*`, (route) => route.fulfill({ status: 410, json: expired }));
  await page.page.clock.fastForward("25:00:00");
  await page.expectPhase(jobId, "expired");
  await page.card(jobId).getByText("Expired").waitFor();
  await picture(page.page, "expired");
  await page.card(jobId).getByRole("button", { name: "Start again" }).click();
  await expect.poll(() => page.card(jobId).count()).toBe(0);
  await expect.poll(() => page.cards.count()).toBe(1);
});

test("a remembered download that the API has forgotten says so, and starts again", async () => {
  const page = await open();
  const jobId = await page.start([FILE.small(1), FILE.small(2)]);
  await page.expectPhase(jobId, "ready");
  const forgotten = { status: 404, json: { code: "JOB_NOT_FOUND", detail: "Job not found." } };
  await page.page.route(`**/*${jobId}*`, (route) => route.fulfill(forgotten));
  await page.page.reload();
  await page.card(jobId).getByText("No longer available").waitFor();
  await picture(page.page, "forgotten");
  await page.card(jobId).getByRole("button", { name: "Start again" }).click();
  await page.page.locator('[data-phase="ready"]').waitFor();
});

test("one click on Start is enough for what was typed", async () => {
  const page = await open();
  await page.page.getByLabel("Files", { exact: true }).fill("10001-10003");
  await page.page.getByRole("button", { name: "Start download" }).click();
  await page.page.locator('[data-phase="ready"]').waitFor();
  await page.cards.getByText("3 files").waitFor();
});

test("a pasted list with line ends or full-width commas works", async () => {
  const context = await newContext({ permissions: ["clipboard-read", "clipboard-write"] });
  const page = await DownloadPage.open(context);
  const paste = async (text: string) => {
    await page.page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(text)})`);
    await page.page.getByLabel("Files", { exact: true }).focus();
    await page.page.keyboard.press("Control+V");
    await page.page.keyboard.press("Enter");
  };
  await paste("10001\n10002\r\n10003-10004\n");
  await page.page.getByRole("button", { name: /^Download 4 files/ }).waitFor();
  await paste("10005，10006、10007");
  await page.page.getByRole("button", { name: /^Download 7 files/ }).waitFor();
});

test("mistakes are explained at the field, which gets the focus", async () => {
  const page = await open({ bypassCSP: true });
  const files = page.page.getByLabel("Files", { exact: true });
  const start = page.page.getByRole("button", { name: "Start download" });
  const invalid = async (text: string) => {
    await page.page.getByText(text).waitFor();
    await expect.poll(() => files.getAttribute("aria-invalid")).toBe("true");
    const described = (await files.getAttribute("aria-describedby")) ?? "";
    expect(await page.page.locator(`[id="${described}"]`).textContent()).toBe(text);
    await expect.poll(() => files.evaluate((it) => it.matches(":focus"))).toBe(true);
  };
  await start.click();
  await invalid("Enter at least one file number.");
  await files.fill("ten");
  await start.click();
  await invalid("“ten” is not a file number or a range such as 10001-10005.");
  expect(await violationsOf(page.page)).toEqual([]);
  await picture(page.page, "field error");
  const problem = {
    code: "VALIDATION_ERROR",
    errors: { fileName: ["Line ends are not allowed."] },
  };
  await page.page.route("**/initiate", (route) => route.fulfill({ status: 400, json: problem }));
  await files.fill("10001");
  await page.page.getByRole("button", { name: "Start download" }).click();
  await page.page.getByText("Line ends are not allowed.").waitFor();
  const name = page.page.getByLabel("Archive name");
  await expect.poll(() => name.evaluate((it) => it.matches(":focus"))).toBe(true);
});

test("a failing source is explained with a countdown, and its file can be left out", async () => {
  stack.origin.failing = true;
  const page = await open();
  const jobId = await page.start([FILE.small(1), FILE.flaky]);
  await page
    .card(jobId)
    .getByText(/^File 40503 can't be fetched right now, attempt 1 of 3, next try in \d+ s$/)
    .waitFor();
  await picture(page.page, "failing source");
  await page.card(jobId).getByRole("button", { name: "Continue without it" }).click();
  await page.page.locator('[data-phase="ready"]').waitFor();
  // The new download can be ready before the old one is cancelled and disappears.
  await expect.poll(() => page.cards.count()).toBe(1);
  await page.cards.getByText(/^1 file /).waitFor();
});

test("a permanent failure offers no retry", async () => {
  const page = await open();
  const jobId = await page.start([FILE.missing]);
  await page.expectPhase(jobId, "failed");
  expect(await page.card(jobId).getByRole("button", { name: "Try again" }).count()).toBe(0);
  await picture(page.page, "failed");
});

test("finished downloads can be cleared, and removing can be undone", async () => {
  const page = await open();
  const first = await page.start([FILE.small(1)]);
  const second = await page.start([FILE.small(2)]);
  await page.expectPhase(first, "ready");
  await page.expectPhase(second, "ready");
  const running = await page.start(stack.origin.heldFiles(9));
  await page.page.getByRole("button", { name: "Clear finished" }).click();
  await expect.poll(() => page.cards.count()).toBe(1);
  await page.page.getByText("Removed 2 downloads.").waitFor();
  await picture(page.page, "undo");
  await page.page.getByRole("button", { name: "Undo" }).click();
  await expect.poll(() => page.cards.count()).toBe(3);
  expect(await page.cards.first().getAttribute("id")).toBe(running);
  await page.card(first).getByRole("button", { name: "Remove" }).click();
  await page.page.getByRole("button", { name: "Undo" }).click();
  await expect.poll(() => page.card(first).count()).toBe(1);
});

test("saving marks the card, and an error of the storage never leaves the page", async () => {
  const page = await open();
  const jobId = await page.start([FILE.small(1), FILE.small(2)]);
  await page.expectPhase(jobId, "ready");
  const storage = /[?&]X-Amz-Signature=/;
  const error = { status: 403, contentType: "application/xml", body: "<Error>Denied</Error>" };
  await page.page.route(storage, (route) => route.fulfill(error));
  const save = page.card(jobId).getByRole("link", { name: "Save file" });
  await save.click();
  await page.card(jobId).getByText("The file couldn't be saved. Try again in a minute.").waitFor();
  expect(page.page.url()).toBe(`${stack.url}/`);
  expect(
    await page
      .card(jobId)
      .getByText(/· Saved$/)
      .count(),
  ).toBe(0);
  await page.page.unroute(storage);
  const saving = page.page.waitForEvent("download");
  await save.click();
  expect(await (await saving).failure()).toBeNull();
  await page
    .card(jobId)
    .getByText(/Saved$/)
    .waitFor();
  await page.page.reload();
  await page
    .card(jobId)
    .getByText(/Saved$/)
    .waitFor();
});

test("an archive is saved automatically if the user wants it", async () => {
  const page = await open();
  await page.page.getByText("Options").click();
  await page.page.getByText("Save the archive automatically").click();
  const saving = page.page.waitForEvent("download");
  await page.start([FILE.small(1), FILE.small(2)]);
  expect(await (await saving).failure()).toBeNull();
});

test("a hidden page shows a notification and a title when a download is done", async () => {
  const context = await newContext({ permissions: ["notifications"] });
  await context.addInitScript(`
    window.shown = [];
    window.Notification = class extends EventTarget {
      static permission = "granted";
      constructor(title, { body }) { super(); window.shown.push([title, body]); }
    };
    Object.defineProperty(document, "hidden", { get: () => Boolean(window.isHidden) });
  `);
  const page = await DownloadPage.open(context);
  const jobId = await page.start([FILE.small(3), ...stack.origin.heldFiles(2)]);
  await page.expectTitle(jobId, "file-10003.txt and 2 more");
  await page.page.evaluate("window.isHidden = true");
  stack.origin.release();
  await page.expectPhase(jobId, "ready");
  await expect
    .poll(() => page.page.evaluate("window.shown"))
    .toEqual([["Ready", "file-10003.txt and 2 more"]]);
  await expect.poll(() => page.page.title()).toBe("✓ Done · Longhaul");
  await page.page.evaluate(
    "window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))",
  );
  await expect.poll(() => page.page.title()).toBe("Long-running downloads · Longhaul");
});

test("events are announced once, with the download's name, and not after a reload", async () => {
  const page = await open();
  const log = page.page.getByRole("log");
  const jobId = await page.start([FILE.small(1), ...stack.origin.heldFiles(2)]);
  // The name may become known only when the first file is done.
  await page.expectTitle(jobId, "file-10001.txt and 2 more");
  stack.origin.release();
  await page.expectPhase(jobId, "ready");
  await expect
    .poll(() => log.locator("p").last().textContent())
    .toBe("file-10001.txt and 2 more: Ready");
  const texts = await log.locator("p").allTextContents();
  expect(texts.filter((text) => text.endsWith(": Ready"))).toHaveLength(1);
  expect(await page.page.locator("[aria-live], [role=status], [role=log]").count()).toBe(2);
  const other = await page.start([FILE.small(2)]);
  await page.expectPhase(other, "ready");
  await page.page.reload();
  for (const id of [jobId, other]) await page.expectPhase(id, "ready");
  await page.page.waitForTimeout(500);
  expect(await log.textContent()).toBe("");
});

test("buttons are named by their download, and Cancel keeps the focus in its card", async () => {
  const page = await open();
  const jobId = await page.start([FILE.small(1), ...stack.origin.heldFiles(9)]);
  const cancel = page.page.getByRole("button", { name: "Cancel, file-10001.txt and 9 more" });
  await cancel.focus();
  await page.page.keyboard.press("Enter");
  await page.expectPhase(jobId, "cancelled");
  await expect
    .poll(() =>
      page.card(jobId).evaluate((card) => card.contains(card.ownerDocument.activeElement)),
    )
    .toBe(true);
});

describe("with an old browser", () => {
  test("that lacks AbortSignal.any and newer array methods, downloads work", async () => {
    const context = await newContext();
    await context.addInitScript(`
      delete AbortSignal.any;
      delete Promise.withResolvers;
      delete Object.groupBy;
      delete Iterator;
      for (const name of ["toSorted", "toReversed", "toSpliced", "with"]) delete Array.prototype[name];
    `);
    const page = await DownloadPage.open(context);
    const jobId = await page.start([FILE.small(1), ...stack.origin.slowFiles(2)]);
    await page.expectPhase(jobId, "ready");
    expect(page.errors).toEqual([]);
  });
});

describe("on a line with 1.6 Mbit/s", () => {
  async function openSlowly(path = "/") {
    const context = await newContext({ viewport: { width: 390, height: 844 } });
    await context.addInitScript(`
      window.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
      }).observe({ type: "layout-shift", buffered: true });
    `);
    const page = await context.newPage();
    const network = await context.newCDPSession(page);
    await network.send("Network.enable");
    const speed = (1.6e6 / 8) | 0;
    await network.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 40,
      downloadThroughput: speed,
      uploadThroughput: speed,
    });
    await page.goto(path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    return page;
  }

  test("the first content needs few bytes and round trips, and nothing moves", async () => {
    const page = await openSlowly();
    await page.waitForFunction("performance.getEntriesByName('first-contentful-paint').length");
    // Over this line 0.6 s, and 1.1 s with the work of an idle computer. The time itself would depend
    // on what else the computer does.
    const loaded = await page.evaluate<{ bytes: number; roundTrips: number }>(`(() => {
      const painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
      const files = performance.getEntriesByType("resource")
        .filter(({ responseEnd }) => responseEnd <= painted);
      const [page] = performance.getEntriesByType("navigation");
      const firstEnd = Math.min(...files.map(({ responseEnd }) => responseEnd));
      return {
        bytes: [page, ...files].reduce((sum, { transferSize }) => sum + transferSize, 0),
        roundTrips: files.every(({ startTime }) => startTime < firstEnd) ? 2 : 3,
      };
    })()`);
    expect(loaded.bytes).toBeGreaterThan(10_000);
    expect(loaded.bytes).toBeLessThan(100_000);
    expect(loaded.roundTrips).toBe(2);
    await page.waitForTimeout(1_000);
    expect(await page.evaluate<number>("window.shift")).toBeLessThan(0.05);
    const encodings = await page.evaluate<number>(`performance.getEntriesByType("resource")
      .filter(({ name }) => /assets.*js$/.test(name) && !/theme/.test(name))
      .reduce((sum, { encodedBodySize, decodedBodySize }) => sum + encodedBodySize / decodedBodySize, 0)`);
    expect(encodings).toBeLessThan(0.5);
  });

  test("a list of downloads does not move when its states arrive", async () => {
    const page = await openSlowly();
    const downloads = new DownloadPage(page);
    for (const n of [1, 2, 3])
      await downloads.expectPhase(await downloads.start([FILE.small(n)]), "ready");
    await page.reload();
    for (const card of await downloads.cards.all())
      await card
        .getByText(/^Ready/)
        .first()
        .waitFor();
    await page.waitForTimeout(1_000);
    expect(await page.evaluate<number>("window.shift")).toBeLessThan(0.05);
  });
});

test("the chosen theme is applied before the first paint", async () => {
  const context = await newContext({ colorScheme: "light" });
  await context.addInitScript(`
    localStorage.setItem("longhaul:theme", "dark");
    new MutationObserver(() => {
      if (document.body && !window.theme) window.theme = document.documentElement.dataset.theme ?? "none";
    }).observe(document, { childList: true, subtree: true });
  `);
  const page = await DownloadPage.open(context);
  expect(await page.page.evaluate("window.theme")).toBe("dark");
});

describe("with AUTH_MODE=jwt", () => {
  const SECRET = "a secret of the tests, at least 32 bytes long";
  let secured: Stack;

  beforeAll(async () => {
    secured = await Stack.start({ AUTH_MODE: "jwt", JWT_SECRET: SECRET });
  });

  afterAll(() => secured?.stop());

  /** Return a token of the user (RFC 7519). */
  function tokenOf(sub: string, secret = SECRET): string {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = Math.floor(Date.now() / 1_000) + 3_600;
    const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, exp })}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  }

  const signedIn = async (user: string) => {
    const page = new DownloadPage(await (await newContext({ baseURL: secured.url })).newPage());
    await page.page.goto(`/#token=${tokenOf(user)}`);
    return page;
  };

  test("the page asks for a token, and explains a rejected one", async () => {
    const context = await newContext({ baseURL: secured.url, bypassCSP: true });
    const page = await DownloadPage.open(context);
    const token = page.page.getByLabel("Access token");
    await token.fill(tokenOf("ada", "another secret, which is also long enough"));
    await page.page.getByRole("button", { name: "Sign in" }).click();
    await page.page.getByText("The token wasn't accepted or has expired.").waitFor();
    expect(await violationsOf(page.page)).toEqual([]);
    await picture(page.page, "sign in");
    await token.fill(tokenOf("ada"));
    await page.page.getByRole("button", { name: "Sign in" }).click();
    await page.page.getByLabel("Files", { exact: true }).waitFor();
    await page.expectPhase(await page.start(secured.origin.slowFiles(2)), "ready");
  });

  test("a link with a token signs in, and the jobs of the account are listed", async () => {
    const first = await signedIn("grace");
    const jobId = await first.start([FILE.small(1), FILE.small(2)]);
    await first.expectPhase(jobId, "ready");
    expect(first.page.url()).not.toContain("token");
    const elsewhere = await signedIn("grace");
    await elsewhere.expectPhase(jobId, "ready");
    await elsewhere.expectTitle(jobId, "file-10001.txt and 1 more");
    const other = await signedIn("edsger");
    await other.page.getByText("No downloads yet").waitFor();
  });

  test("two users of one browser see only their own downloads", async () => {
    const first = await signedIn("barbara");
    await first.expectPhase(await first.start([FILE.small(1)]), "ready");
    const second = new DownloadPage(await first.page.context().newPage());
    await second.page.goto(`/#token=${tokenOf("frances")}`);
    await second.page.getByText("No downloads yet").waitFor();
  });
});
