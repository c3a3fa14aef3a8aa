import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Write compressed copies of the files, which the API and nginx send to browsers that accept them. */
function compressedCopies(folder: string): Plugin {
  const compress = (path: string) => {
    const content = readFileSync(path);
    writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
    writeFileSync(`${path}.br`, brotliCompressSync(content));
  };
  return {
    name: "compressed-copies",
    apply: "build",
    closeBundle() {
      for (const name of readdirSync(folder)) {
        if (/\.(js|css|svg)$/.test(name)) compress(join(folder, name));
      }
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  resolve: { conditions: ["source", "module", "browser", "development|production"] },
  plugins: [compressedCopies(join(import.meta.dirname, "../dist/assets"))],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    // The minimum browsers that docs/clients.md names.
    target: ["chrome111", "edge111", "firefox115", "safari16.4"],
    // An inlined font or image would need a wider content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
