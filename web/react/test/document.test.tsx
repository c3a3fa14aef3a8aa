// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Connection, LonghaulOptions, StoredDownload } from "@longhaul/client";
import { cleanup, renderHook } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import {
  type DownloadButtonProps,
  type Pending,
  type Phase,
  type UseDownloadOptions,
  useDownload,
  useDownloads,
} from "../src/index.js";

const DOCUMENT = readFileSync(join(import.meta.dirname, "../../../docs/clients.md"), "utf8");

afterEach(cleanup);

/** Return the names in the first column of the table that begins with this heading. */
function documented(heading: string): string[] {
  const [, table = ""] = DOCUMENT.split(`\n| ${heading} |`);
  const rows = (table.split("\n\n")[0] ?? "").split("\n").slice(2);
  return rows.flatMap((row) => codesIn(row.split(" | ")[0] ?? ""));
}

/** Return the names in the second column of a row, such as the values of `pending`. */
function values(name: string): string[] {
  const row = DOCUMENT.split("\n").find((line) => line.startsWith(`| \`${name}\` |`)) ?? "";
  return codesIn(row.split(" | ")[1] ?? "");
}

/** Return the code in a text, without the arguments of functions. */
function codesIn(text: string): string[] {
  return [...text.matchAll(/`(\w+)(?:\([^`]*\))?`/g)].map(([, name = ""]) => name);
}

/** Names of a type, in the order of the document. The compiler rejects a missing one. */
const names = <Name extends string>(all: Record<Name, boolean>) => Object.keys(all);

test("the document lists the phases", () => {
  const phases = names<Phase>({
    ...{ idle: true, starting: true, queued: true, processing: true, ready: true, failed: true },
    ...{ cancelled: true, expired: true, unknown: true },
  });
  expect(documented("phase")).toEqual(phases);
});

test("the document lists the connections", () => {
  const connections = names<Connection>({
    ...{ connecting: true, live: true, polling: true, reconnecting: true, closed: true },
  });
  expect(documented("connection")).toEqual(connections);
});

test("the document lists the user's requests", () => {
  expect(values("pending")).toEqual(
    names<Pending>({ start: true, cancel: true, retry: true, link: true }),
  );
});

test("the document lists the options of useDownload and the props of the button", () => {
  const common = { autoStart: true, autoSave: true, onProgress: true, onSuccess: true };
  const options = { jobId: true, fileIds: true, startOptions: true, ...common, onError: true };
  const props = { fileIds: true, options: true, resume: true, labels: true, ...common };
  expect(documented("option of `useDownload`")).toEqual(names<keyof UseDownloadOptions>(options));
  expect(documented("prop of `DownloadButton`")).toEqual(
    names<keyof DownloadButtonProps>({ ...props, onError: true, className: true }),
  );
});

test("the document lists the results of useDownload and useDownloads", () => {
  const { result: one } = renderHook(() => useDownload());
  const { result: all } = renderHook(() => useDownloads());
  expect(documented("result of `useDownload`").sort()).toEqual(Object.keys(one.current).sort());
  expect(documented("result of `useDownloads`").sort()).toEqual(Object.keys(all.current).sort());
});

test("the document lists the members of a remembered download", () => {
  const members = names<keyof StoredDownload>({
    ...{ jobId: true, fileIds: true, files: true, options: true, startedAt: true },
    ...{ firstFile: true, saved: true },
  });
  expect(values("downloads")).toEqual(members);
});

test("the document lists the options of the client", () => {
  const options = names<keyof LonghaulOptions>({
    ...{ baseUrl: true, getToken: true, headers: true, namespace: true, connections: true },
    ...{ pollInterval: true, storage: true, fetch: true },
  });
  expect(documented("option of `Longhaul`")).toEqual(options);
});
