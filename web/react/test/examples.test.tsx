// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { act } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import Page from "../../examples/next/app/reports/page.js";
import config from "../../examples/next/next.config.mjs";

const WEB = join(import.meta.dirname, "../..");
const DOCUMENT = readFileSync(join(WEB, "../docs/clients.md"), "utf8");

/** The examples in the document, in order; `npm run check` compiles them. */
const FILES = [
  "start.ts",
  "sign-in.ts",
  "button.tsx",
  "german.tsx",
  "export.tsx",
  "next/next.config.mjs",
  "next/app/reports/download.tsx",
  "next/app/reports/page.tsx",
];

afterEach(() => vi.restoreAllMocks());

test("the document contains exactly the compiled examples", () => {
  const section = DOCUMENT.split("\n## Libraries for browsers\n")[1] ?? "";
  const shown = [...section.matchAll(/```(?:ts|tsx|js)\n([\s\S]*?)```/g)].map(([, code]) => code);
  const compiled = FILES.map((name) => readFileSync(join(WEB, "examples", name), "utf8"));
  expect(shown).toEqual(compiled);
});

test("a browser hydrates the server-rendered Next.js page without errors", async () => {
  const consoleError = vi.spyOn(console, "error");
  const html = renderToString(await Page());
  expect(html).toContain('data-phase="idle"');
  const root = document.createElement("div");
  root.innerHTML = html;
  document.body.append(root);
  const button = root.querySelector("button");
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  const hydrated = await act(async () => hydrateRoot(root, await Page()));
  expect(root.querySelector("button")).toBe(button);
  expect(consoleError).not.toHaveBeenCalled();
  act(() => hydrated.unmount());
});

test("Next.js forwards the API's paths", async () => {
  const [rule] = await config.rewrites();
  expect(rule).toEqual({
    source: "/v1/:path*",
    destination: "http://127.0.0.1:8080/v1/:path*",
  });
});
