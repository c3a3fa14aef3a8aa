// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { saveFile } from "../src/index.js";

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  vi.useRealTimers();
  for (const frame of document.querySelectorAll("iframe")) frame.remove();
});

const urls = () => [...document.querySelectorAll("iframe")].map((frame) => frame.src);

// To remove a frame aborts a download whose headers have not arrived yet.
test("each save keeps its frame until its own timer ends", () => {
  saveFile("http://store.test/1", () => undefined);
  vi.advanceTimersByTime(30_000);
  saveFile("http://store.test/2", () => undefined);
  expect(urls()).toEqual(["http://store.test/1", "http://store.test/2"]);
  vi.advanceTimersByTime(40_000);
  expect(urls()).toEqual(["http://store.test/2"]);
  vi.advanceTimersByTime(30_000);
  expect(urls()).toEqual([]);
});
