import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshContext, startBrowser } from "./browser.js";
import { FILE } from "./origin.js";
import { PYTHON, Stack } from "./stack.js";

const SECRET = `whsec_${Buffer.from("a secret of the test, 24 bytes+").toString("base64")}`;
const DOCUMENT = readFileSync(join(import.meta.dirname, "../../docs/clients.md"), "utf8");

let stack: Stack;
let browser: Browser;
let page: Page;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longhaul-clients-"));
  stack = await Stack.start({ WEBHOOK_SECRET: SECRET, WEBHOOK_ALLOW_PRIVATE: "true" });
  browser = await startBrowser();
  page = await (await freshContext(browser, stack.url)).newPage();
  await page.goto("/");
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

/** Return the first example of a section of docs/clients.md. */
function example(section: string): string {
  const [, body] = DOCUMENT.split(`\n## ${section}\n`);
  const code = body?.match(/```(?:js|python)\n([\s\S]*?)```/)?.[1];
  if (!code) throw new Error(`docs/clients.md has no example in "${section}"`);
  return code;
}

function save(section: string, name: string): string {
  const path = join(folder, name);
  writeFileSync(path, example(section));
  return path;
}

test("polling", async () => {
  const ids = stack.origin.slowFiles(3).map(String);
  const script = save("Polling", "poll.py");
  const { stdout } = await promisify(execFile)(PYTHON, [script, stack.url, ...ids], {
    cwd: folder,
  });
  expect(stdout.trim().split("\n").at(-1)).toBe("completed 100");
  expect(statSync(join(folder, "archive.zip")).size).toBeGreaterThan(3 * 64 * 1024);
});

test.each(["Server-sent events, with names", "Server-sent events, without names", "WebSocket"])(
  "%s",
  async (section) => {
    const ids = [...stack.origin.heldFiles(1), ...stack.origin.slowFiles(3)];
    const run = `(async () => {
      ${example("Requests from a browser")}
      ${example(section)}
      const shown = window.shown = [];
      const job = await download(${JSON.stringify(ids)}, ({ progress }) => shown.push(progress));
      return { status: job.status, link: job.downloadUrl, shown };
    })()`;
    const running = page.evaluate<{ status: string; link: string; shown: number[] }>(run);
    await expect.poll(() => page.evaluate<number>("window.shown?.length ?? 0")).toBeGreaterThan(0);
    stack.origin.release();
    const { status, link, shown } = await running;
    expect(status).toBe("completed");
    expect((await fetch(link)).status).toBe(200);
    expect(shown.length).toBeGreaterThan(1);
    expect(shown).toEqual(shown.toSorted((a, b) => a - b));
  },
);

test("Webhook", async () => {
  const port = await freePort();
  const receiver = spawn(PYTHON, [save("Webhook", "receive.py"), String(port)], {
    env: { ...process.env, WEBHOOK_SECRET: SECRET },
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const output = lineOf(receiver, /completed/);
    const callbackUrl = `http://127.0.0.1:${port}/longhaul`;
    await waitForServer(callbackUrl);
    const forged = await fetch(callbackUrl, { method: "POST", body: "{}" });
    expect(forged.status).toBe(401);
    const response = await fetch(`${stack.url}/v1/download/initiate`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ file_ids: [FILE.small(1), FILE.small(2)], callbackUrl }),
    });
    const { jobId } = await response.json();
    expect(await output).toContain(jobId);
  } finally {
    receiver.kill();
  }
});

async function lineOf(child: ChildProcess, pattern: RegExp): Promise<string> {
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    if (pattern.test(line)) return line;
  }
  throw new Error("The receiver ended without the expected output");
}

async function waitForServer(url: string): Promise<void> {
  await expect
    .poll(
      () =>
        fetch(url).then(
          () => true,
          () => false,
        ),
      { timeout: 10_000 },
    )
    .toBe(true);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
