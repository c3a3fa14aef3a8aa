import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";

const WEB = join(import.meta.dirname, "../..");

let project: string;
let installed: string;

/** Pack the package and unpack it into another project, as `npm install FILE` does. */
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "longhaul-project-"));
  installed = join(project, "node_modules/longhaul-web");
  mkdirSync(installed, { recursive: true });
  for (const name of ["client", "react"])
    execFileSync("npx", ["tsc", "--build", name], { cwd: WEB, stdio: "inherit" });
  execFileSync("node", [join(WEB, "pack.mjs"), project], { cwd: WEB });
  const [archive = ""] = readdirSync(project).filter((name) => name.endsWith(".tgz"));
  execFileSync("tar", ["xzf", join(project, archive), "-C", installed, "--strip-components=1"]);
  for (const name of ["react", "react-dom", "scheduler"])
    symlinkSync(join(WEB, "node_modules", name), join(project, "node_modules", name));
}, 60_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

test("the package depends on nothing but the project's React", () => {
  const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  expect(Object.keys(manifest)).not.toContain("dependencies");
  expect(Object.keys(manifest.peerDependencies)).toEqual(["react"]);
  const imported = new Set<string>();
  for (const folder of ["client", "react"]) {
    for (const file of readdirSync(join(installed, folder))) {
      const text = readFileSync(join(installed, folder, file), "utf8");
      for (const [, name = ""] of text.matchAll(/(?:from|import\()\s*"([^"]+)"/g))
        imported.add(name);
    }
  }
  const packages = [...imported].filter((name) => !name.startsWith("."));
  expect(packages.sort()).toEqual(["react", "react/jsx-runtime"]);
});

test("a project that installs it can import and bundle the documented example, with one React", async () => {
  cpSync(join(WEB, "examples/button.tsx"), join(project, "button.tsx"));
  const built = await build({
    root: project,
    configFile: false,
    logLevel: "error",
    build: { lib: { entry: "button.tsx", formats: ["es"], cssFileName: "style" } },
  });
  const [{ output } = { output: [] }] = [built].flat().filter((item) => "output" in item);
  const chunks = output.flatMap((item) => (item.type === "chunk" ? [item] : []));
  expect(chunks.map((chunk) => chunk.code).join()).toContain("/v1/download/initiate");
  const modules = chunks.flatMap((chunk) => chunk.moduleIds);
  expect(modules.filter((id) => id.endsWith("/react/cjs/react.production.js"))).toHaveLength(1);
}, 60_000);
