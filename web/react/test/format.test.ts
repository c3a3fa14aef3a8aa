import { expect, test } from "vitest";
import { formatBytes, formatMoment, formatSeconds } from "../src/index.js";

test.each([
  [0, "0 bytes"],
  [1, "1 byte"],
  [999, "999 bytes"],
  [1_000, "1 KB"],
  [1_540, "1.5 KB"],
  [123_456_789, "123 MB"],
  [5_368_709_120, "5.4 GB"],
  [9e15, "9,000 TB"],
])("%d bytes are shown as %s", (bytes, shown) => {
  expect(formatBytes(bytes, "en")).toBe(shown);
});

test.each([
  [0, "1 s"],
  [41.6, "42 s"],
  [60, "1 min"],
  [3_599, "60 min"],
  [3_600, "1 h"],
  [9_000, "2 h 30 min"],
])("%d seconds are shown as %s", (seconds, shown) => {
  expect(formatSeconds(seconds)).toBe(shown);
});

test.each([
  ["fr", 1_540, "1,5 Ko"],
  ["de", 5_368_709_120, "5,4 GB"],
  ["ja", 123_456_789, "123 MB"],
])("sizes in %s", (locale, bytes, shown) => {
  expect(formatBytes(bytes, locale)).toBe(shown);
});

test.each([
  ["2026-03-01T23:30:00", "en-GB", { time: "23:30", day: "" }],
  ["2026-03-02T14:30:00", "en-GB", { time: "14:30", day: "tomorrow" }],
  ["2026-03-02T00:05:00", "en-GB", { time: "00:05", day: "tomorrow" }],
  ["2026-03-02T14:30:00", "de", { time: "14:30", day: "morgen" }],
  ["2026-02-28T09:05:00", "en-GB", { time: "09:05", day: "yesterday" }],
  ["2026-03-09T14:30:00", "en-GB", { time: "14:30", day: "9 Mar" }],
])("%s in %s", (iso, locale, moment) => {
  expect(formatMoment(iso, locale, new Date("2026-03-01T08:00:00"))).toEqual(moment);
});
