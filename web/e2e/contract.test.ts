import openapiTS, { astToString } from "openapi-typescript";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stack } from "./stack.js";

let stack: Stack;

beforeAll(async () => {
  stack = await Stack.start();
});

afterAll(() => stack?.stop());

/** `npm run types` updates the file. */
test("the client's types match the API's OpenAPI document", async () => {
  const { openapi, info, components } = await (await fetch(`${stack.url}/openapi.json`)).json();
  const types = await openapiTS({ openapi, info, components, paths: {} });
  const header = "// Made from /openapi.json by `npm run types`.\n\n";
  await expect(header + astToString(types)).toMatchFileSnapshot("../client/src/schema.gen.ts");
});
