import { existsSync } from "node:fs";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { expect } from "vitest";

/** Paths of Chromium on Debian and similar systems; CHROMIUM sets another one. */
const CHROMIUM_PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"];

export function startBrowser(): Promise<Browser> {
  const executablePath = CHROMIUM_PATHS.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("Chromium not found: run apt-get install chromium");
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Create a browser profile. */
export async function freshContext(
  browser: Browser,
  baseURL: string,
  options: BrowserContextOptions = {},
): Promise<BrowserContext> {
  const context = await browser.newContext({ baseURL, locale: "en-GB", ...options });
  context.setDefaultTimeout(20_000);
  return context;
}

/** The download page, with the actions of its users. */
export class DownloadPage {
  readonly errors: string[] = [];

  constructor(readonly page: Page) {
    page.on("pageerror", (error) => this.errors.push(String(error)));
  }

  static async open(context: BrowserContext): Promise<DownloadPage> {
    const self = new DownloadPage(await context.newPage());
    await self.page.goto("/");
    await self.page.getByRole("heading", { level: 1 }).waitFor();
    return self;
  }

  async pick(ids: readonly number[]): Promise<void> {
    await this.page.getByLabel("Files", { exact: true }).fill(ids.join(", "));
    await this.page.getByRole("button", { name: "Add" }).click();
  }

  /** Start a download; return the id of its job. */
  async start(ids: readonly number[]): Promise<string> {
    const count = await this.cards.count();
    await this.pick(ids);
    await this.page.getByRole("button", { name: /^Download / }).click();
    await expect.poll(() => this.cards.count()).toBe(count + 1);
    return (await this.cards.first().getAttribute("id")) ?? "";
  }

  get cards(): Locator {
    return this.page.locator("article.download");
  }

  card(jobId: string): Locator {
    return this.page.locator(`article[id="${jobId}"]`);
  }

  async expectPhase(jobId: string, phase: string, timeout = 30_000): Promise<void> {
    await this.card(jobId)
      .and(this.page.locator(`[data-phase="${phase}"]`))
      .waitFor({ timeout });
  }

  async expectTitle(jobId: string, title: string): Promise<void> {
    await expect.poll(() => this.card(jobId).getByRole("heading").textContent()).toBe(title);
  }

  /** Return the progress that is shown, or null. */
  async progress(jobId: string): Promise<number | null> {
    const bar = this.card(jobId).getByRole("progressbar");
    if (!(await bar.count())) return null;
    const value = await bar.getAttribute("aria-valuenow", { timeout: 1_000 }).catch(() => null);
    return value === null ? null : Number(value);
  }

  /** Return every progress value that is shown until the download is ready, in order. */
  async progressUntilReady(jobId: string, timeout = 60_000): Promise<number[]> {
    const seen: number[] = [];
    const end = Date.now() + timeout;
    while ((await this.card(jobId).getAttribute("data-phase")) !== "ready") {
      if (Date.now() > end) throw new Error(`Not ready after ${timeout} ms; seen: ${seen}`);
      const value = await this.progress(jobId);
      if (value !== null && value !== seen.at(-1)) seen.push(value);
      await this.page.waitForTimeout(100);
    }
    return seen;
  }

  async connection(jobId: string): Promise<string | null> {
    const badge = this.card(jobId).locator(".badge");
    return (await badge.count()) ? await badge.getAttribute("data-connection") : null;
  }
}
