/**
 * Builds the package for other projects: longhaul-web-VERSION.tgz with the client and the React
 * components. It is one package without dependencies, so that installing it resolves no name on a
 * registry; React comes from the project that uses it.
 *
 * Usage: node pack.mjs [FOLDER]   (after npm run build; default: the current folder)
 */

import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = import.meta.dirname;
const { version, peerDependencies } = JSON.parse(
  readFileSync(join(ROOT, "react/package.json"), "utf8"),
);

const entry = (name) => ({ types: `./${name}/index.d.ts`, default: `./${name}/index.js` });
const manifest = {
  name: "longhaul-web",
  version,
  description: "Start long-running downloads and watch them through any proxy",
  license: "Apache-2.0",
  type: "module",
  sideEffects: ["*.css"],
  exports: {
    "./client": entry("client"),
    "./react": entry("react"),
    "./button.css": "./button.css",
  },
  peerDependencies,
  peerDependenciesMeta: { react: { optional: true } },
};

/** Copy what tsc built; the React components import the client from this package. */
function copyBuilt(name, staging) {
  const target = join(staging, name);
  mkdirSync(target);
  for (const file of readdirSync(join(ROOT, name, "dist"))) {
    if (!/\.(js|d\.ts)$/.test(file)) continue;
    const text = readFileSync(join(ROOT, name, "dist", file), "utf8");
    writeFileSync(
      join(target, file),
      text.replaceAll('"@longhaul/client"', '"../client/index.js"'),
    );
  }
}

const staging = mkdtempSync(join(tmpdir(), "longhaul-web-"));
try {
  copyBuilt("client", staging);
  copyBuilt("react", staging);
  cpSync(join(ROOT, "react/button.css"), join(staging, "button.css"));
  cpSync(join(ROOT, "../LICENSE"), join(staging, "LICENSE"));
  writeFileSync(join(staging, "package.json"), JSON.stringify(manifest, null, 2));
  const target = resolve(process.argv[2] ?? ".");
  mkdirSync(target, { recursive: true });
  execFileSync("npm", ["pack", "--silent", "--pack-destination", target], {
    cwd: staging,
    stdio: "inherit",
  });
} finally {
  rmSync(staging, { recursive: true });
}
