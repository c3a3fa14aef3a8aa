import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    conditions: ["source"],
    // The name of the package that other projects install; see pack.mjs.
    alias: {
      "longhaul-web/client": "@longhaul/client",
      "longhaul-web/react": "@longhaul/react",
      "longhaul-web/button.css": "@longhaul/react/button.css",
    },
  },
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["{client,react,app}/test/**/*.test.{ts,tsx}"],
          setupFiles: ["vitest.setup.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["e2e/**/*.test.ts"],
          testTimeout: 90_000,
          hookTimeout: 120_000,
          // The default of one second is too short on a loaded computer.
          expect: { poll: { timeout: 20_000 } },
          fileParallelism: false,
        },
      },
    ],
  },
});
