import { expect, test } from "vitest";
import { parseIds, showIds } from "../src/download/parse-ids.js";

test.each([
  ["10001", [10001]],
  [" 1,2 ; 3\n4 ", [1, 2, 3, 4]],
  ["5-8", [5, 6, 7, 8]],
  ["5 – 7, 7..8", [5, 6, 7, 8]],
  ["3 3 3", [3]],
  ["1，2、3；4", [1, 2, 3, 4]],
  ["１０〜１２", [10, 11, 12]],
  ["1—3\r\n5\t6", [1, 2, 3, 5, 6]],
  ["", []],
  // FILE_ID_MIN and FILE_ID_MAX of the API decide which ids are valid.
  ["0, 100000001, 9007199254740991", [0, 100_000_001, Number.MAX_SAFE_INTEGER]],
])("%j means %j", (text, ids) => {
  expect(parseIds(text)).toEqual({ ids, error: null });
});

test.each(["ten", "1-", "8-5", "9007199254740992", "1-1001", "1-600, 700-1300"])(
  "%j is an error with an explanation",
  (text) => {
    expect(parseIds(text).error).toMatch(/\w+ \w+/);
  },
);

test.each([
  [[1], "1"],
  [[3, 1, 2], "1–3"],
  [[1, 2, 9], "1, 2, 9"],
  [[1, 3, 5, 7, 9], "1, 3, 5, 7 …"],
])("%j is shown as %s", (ids, shown) => {
  expect(showIds(ids)).toBe(shown);
});
