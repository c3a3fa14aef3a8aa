// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Longhaul } from "@longhaul/client";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { act } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import { FakeStorage } from "../../client/test/fake-browser.js";
import { FakeServer, JOB_ID, json } from "../../client/test/fake-server.js";
import { Downloads } from "../../examples/downloads.js";
import { Export } from "../../examples/export.js";
import Page from "../../examples/next/app/reports/page.js";
import config from "../../examples/next/next.config.mjs";
import { LonghaulProvider } from "../src/index.js";

const WEB = join(import.meta.dirname, "../..");
const DOCUMENT = readFileSync(join(WEB, "../docs/clients.md"), "utf8");

/** The examples in the document, in order; `npm run check` compiles them. */
const FILES = [
  "start.ts",
  "sign-in.ts",
  "button.tsx",
  "german.tsx",
  "export.tsx",
  "downloads.tsx",
  "vite.config.ts",
  "next/next.config.mjs",
  "next/app/reports/download.tsx",
  "next/app/reports/page.tsx",
];

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

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

test("the examples for hooks show a download until its end, and how to go on", async () => {
  const server = new FakeServer();
  server.on("POST /v1/download/initiate", () => json(server.now, 202));
  server.on(`POST /v1/download/cancel/${JOB_ID}`, () => {
    server.change({ status: "cancelled" });
    return json({ jobId: JOB_ID, status: "cancelled", message: "Cancelled" });
  });
  const storage = new FakeStorage();
  const client = new Longhaul({ baseUrl: "http://longhaul.test", fetch: server.fetch, storage });
  render(
    <LonghaulProvider client={client}>
      <Export fileIds={[1, 2, 3]} />
      <Downloads />
    </LonghaulProvider>,
  );
  fireEvent.click(screen.getByRole("button", { name: "Export" }));
  fireEvent.click(await screen.findByRole("button", { name: "0%, cancel" }));
  await screen.findByRole("button", { name: "Export" });
  await screen.findByText(/^3 files: cancelled 0%/);
  server.now = { ...server.now, jobId: "job-2", status: "completed", fileName: "files.zip" };
  fireEvent.click(screen.getByRole("button", { name: "Export" }));
  await screen.findByRole("button", { name: "Save files.zip" });
  await screen.findByRole("heading", { name: "Downloads (1 ready)" });
  const [newest] = screen.getAllByRole("button", { name: "Remove" });
  if (newest) fireEvent.click(newest);
  await screen.findByRole("heading", { name: "Downloads (0 ready)" });
});
