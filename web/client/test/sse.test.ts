import { expect, test } from "vitest";
import { EventParser } from "../src/sse.js";

const parsed = (...chunks: string[]) => {
  const parser = new EventParser();
  return chunks.flatMap((chunk) => parser.feed(chunk));
};

test("an event has a type, data and an id", () => {
  expect(parsed("id: 4\nevent: progress\ndata: {}\n\n")).toEqual([
    { type: "progress", data: "{}", id: "4" },
  ]);
});

test("the text may be split anywhere", () => {
  const text =
    "\uFEFFretry: 2000\r\n\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\n: hello\r\ndata:c\r\n\r\n";
  const events = parsed(text);
  expect(events.map(({ data }) => data)).toEqual(["a\nb", "c"]);
  for (let cut = 1; cut < text.length; cut++) {
    expect(parsed(text.slice(0, cut), text.slice(cut))).toEqual(events);
  }
});

test.each(["\n", "\r\n", "\r"])("lines end with %j", (end) => {
  const text = ["event: a", "data: 1", "", "data: 2", "", ""].join(end);
  expect(parsed(text, ":")).toEqual([
    { type: "a", data: "1", id: "" },
    { type: "message", data: "2", id: "" },
  ]);
});

test("an id is valid until the next one, and an id with NUL is ignored", () => {
  expect(parsed("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n").map(({ id }) => id)).toEqual(["1", "1"]);
});

test("events without data and incomplete events are not returned", () => {
  expect(parsed("event: progress\n\ndata: a\n")).toEqual([]);
});
