import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { BrowserContextOptions, Page } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Return the violations of WCAG 2.2 AA and of best practices that axe-core finds. */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate<AxeResults>("axe.run()");
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** Return by how many pixels the page is wider than the window. */
export async function overflow(page: Page): Promise<number> {
  return page.evaluate<number>("document.documentElement.scrollWidth - window.innerWidth");
}

const PHONE = { viewport: { width: 390, height: 844 } };
const DESKTOP = { viewport: { width: 1280, height: 800 } };

/** The screens and settings with which every state of the page must be usable. */
export const SCREENS: Record<string, BrowserContextOptions> = {
  "on a phone, light": { ...PHONE, colorScheme: "light" },
  "on a phone, dark": { ...PHONE, colorScheme: "dark" },
  "on a desktop, light": { ...DESKTOP, colorScheme: "light" },
  "on a desktop, dark": { ...DESKTOP, colorScheme: "dark" },
  "with forced colors": { ...DESKTOP, forcedColors: "active" },
  // Zoom halves the width in CSS pixels.
  "at 200% zoom": { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 },
  "at 200% zoom on a phone": { viewport: { width: 195, height: 422 }, deviceScaleFactor: 2 },
};
