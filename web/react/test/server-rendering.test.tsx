import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";
import { DownloadButton, useDownload, useDownloads } from "../src/index.js";

function WithId() {
  return <p>{useDownload("5c8f7d0e-9d0c-4f6e-8a53-0d6c2b1f4a11").phase}</p>;
}

function All() {
  return <p>{useDownloads().downloads.length}</p>;
}

test("a server renders the idle button", () => {
  const html = renderToString(<DownloadButton fileIds={[1, 2]} />);
  expect(html).toContain('data-phase="idle"');
  expect(html).toContain("Download");
});

test("a server renders a known download as idle", () => {
  expect(renderToString(<WithId />)).toBe("<p>idle</p>");
});

test("a server renders no stored downloads", () => {
  expect(renderToString(<All />)).toBe("<p>0</p>");
});
