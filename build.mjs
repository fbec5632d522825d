/**
 * Builds dist/: the library (index.js), sternix/rcu (rcu.js, rcu-kernel.js), the worker entry (cpu-worker.js), the command line
 * (sternix.js), the model checker (check.js, with the modules that it runs in model/) and type declarations; in dist/sternix-rcu/ the
 * package that has RCU alone. Third-party packages stay outside: piscina must load its own worker file.
 *
 * Chunks and entries all lie flat in dist/, so that `new URL("./cpu-worker.js", import.meta.url)` is right from any of them.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "acorn";
import { build } from "esbuild";
import { layOutRcu } from "./rcu/package/lay-out.mjs";
import { WORKLOADS } from "./userland/programs/workloads/index.ts";
import { prebuild } from "./userland/riscv64/start-modules.ts";

process.chdir(dirname(fileURLToPath(import.meta.url)));
rmSync("dist", { recursive: true, force: true });

const { outputFiles } = await build({
  write: false,
  entryPoints: {
    index: "userland/index.ts",
    rcu: "rcu/index.ts",
    "rcu-kernel": "rcu/kernel.ts",
    check: "userland/check/index.ts",
    "check-worker": "userland/check/check-worker.ts",
    "cpu-worker": "userland/cpu-worker.ts",
    sternix: "userland/cli/sternix.ts",
    kvcache: "userland/subsystems/kvcache/index.ts",
    sysstat: "userland/subsystems/sysstat/index.ts",
    "syscall-policy": "userland/subsystems/syscall-policy/index.ts",
    "torture-worker": "rcu/torture/torture-worker.ts",
    "bench-table-worker": "userland/bench/table-worker.ts",
    "bench-grace-worker": "userland/bench/grace-worker.ts",
    "bench-flavour-worker": "userland/bench/flavour-worker.ts",
    "bench-central-worker": "userland/bench/central-worker.ts",
    "bench-syscall-program": "userland/bench/syscall-program.ts",
    // Programs that `sternix run workload:NAME` loads.
    ...Object.fromEntries(
      WORKLOADS.map((name) => [`workload-${name}`, `userland/programs/workloads/${name}.ts`]),
    ),
  },
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  packages: "external",
  target: "node24",
  sourcemap: "linked",
  sourcesContent: false,
  logLevel: "warning",
  plugins: [{ name: "prebuilt", setup: putPrebuilt }],
});
mkdirSync("dist");
for (const { path, text } of outputFiles)
  writeFileSync(path, path.endsWith(".js") ? restoreConstants(text) : text);
chmodSync("dist/sternix.js", 0o755);
// The guest that `sternix bench syscalls` runs, and its source, which is built for the host where there is a compiler.
copyFileSync("test/guest/bin/syscalls", "dist/bench-syscalls-guest");
copyFileSync("test/guest/src/syscalls.c", "dist/bench-syscalls-guest.c");
// What `sternix bench rcu` builds where liburcu is, and runs beside.
copyFileSync("userland/bench/liburcu.c", "dist/bench-liburcu.c");

// The model checker runs modules one by one, of each thread a copy: as they are, without their types, every line in its place.
for (const file of importedFrom([
  "userland/check/model/library.ts",
  "userland/check/inside/check.ts",
  "userland/check/inside/sternix.ts",
])) {
  const code = stripTypeScriptTypes(readFileSync(file, "utf8"));
  const target = `dist/model/${file.replace(/\.ts$/, ".js")}`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, code.replace(/((?:from|import) "\.[^"\n]*)\.ts"/g, '$1.js"'));
}

const declarations = {
  extends: "../tsconfig.json",
  compilerOptions: {
    declaration: true,
    emitDeclarationOnly: true,
    stripInternal: true,
    rootDir: "..",
    outDir: "types",
  },
  include: [
    "../rcu/index.ts",
    "../rcu/kernel.ts",
    "../userland/index.ts",
    "../userland/check/index.ts",
    "../kernel/webassembly.d.ts",
  ],
};
writeFileSync("dist/tsconfig.json", JSON.stringify(declarations));
const types = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "dist"], {
  stdio: "inherit",
});
rmSync("dist/tsconfig.json");
process.exitCode = types.status ?? 1;

// The declarations name WebAssembly.Memory, which TypeScript knows only with the DOM. An empty interface merges with that.
const face = "dist/types/userland/index.d.ts";
writeFileSync("dist/types/webassembly.d.ts", "declare namespace WebAssembly {\n  interface Memory {}\n}\n");
writeFileSync(face, `/// <reference path="../webassembly.d.ts" />\n${readFileSync(face, "utf8")}`);

await layOutRcu("dist/sternix-rcu", "dist/types/rcu", restoreConstants);

/** Puts the modules that the riscv64 engine starts with into the table of prebuilt.ts. */
function putPrebuilt({ onLoad }) {
  onLoad({ filter: /[/\\]riscv64[/\\]prebuilt\.ts$/ }, ({ path }) => {
    const table = Object.entries(prebuild()).map(([name, bytes]) => [
      name,
      Buffer.from(bytes).toString("base64"),
    ]);
    const [before, after, ...more] = readFileSync(path, "utf8").split("= {};");
    if (after === undefined || more.length > 0) throw new Error(`${path} has no table to fill`);
    return { contents: `${before}= ${JSON.stringify(Object.fromEntries(table))};${after}`, loader: "ts" };
  });
}

/** The modules, and all that they import of this project while they run. */
function importedFrom(entries) {
  const found = new Set(entries);
  for (const file of found) {
    const code = stripTypeScriptTypes(readFileSync(file, "utf8"));
    for (const [, path] of code.matchAll(/^(?:import|export)\b[^;"]*"(\.[^"]+)"/gm))
      found.add(join(dirname(file), path));
  }
  return found;
}

/**
 * Declares what is never assigned again with `const`. esbuild turns a module's constants into `var` when it bundles, and V8
 * folds only constants into machine code: a read scope took three to ten times as long in dist/ as in the source. The blanks
 * around "=" go, so that the value stays in its column and the source map stays right.
 */
function restoreConstants(code) {
  const { body } = parse(code, { ecmaVersion: "latest", sourceType: "module" });
  const assigned = new Set();
  collectAssigned(body, assigned);
  let out = "";
  let done = 0;
  for (const { type, kind, start, declarations } of body) {
    if (type !== "VariableDeclaration" || kind !== "var") continue;
    const constant = ({ id, init }) => init !== null && boundBy(id).every((name) => !assigned.has(name));
    if (!declarations.every(constant)) continue;
    const value = declarations[0].init.start;
    out += code.slice(done, start);
    const names = code.slice(start + "var ".length, value);
    out += names.startsWith("{ ") ? `const{${names.slice(2)}` : `const ${names.replace(" = ", "=")}`;
    done = value;
  }
  return out + code.slice(done);
}

/** Adds every name that is assigned somewhere below `node`, whichever variable of that name it is. */
function collectAssigned(node, names) {
  if (Array.isArray(node)) for (const each of node) collectAssigned(each, names);
  if (typeof node?.type !== "string") return;
  if (node.type === "AssignmentExpression") collectTargets(node.left, names);
  if (node.type === "UpdateExpression") collectTargets(node.argument, names);
  if (/^For(In|Of)Statement$/.test(node.type)) collectTargets(node.left, names);
  for (const child of Object.values(node)) if (typeof child === "object") collectAssigned(child, names);
}

/** The names that a declaration's name or pattern declares. */
function boundBy(pattern) {
  const names = new Set();
  collectTargets(pattern, names);
  return [...names];
}

/** Adds the names that a pattern assigns. */
function collectTargets(pattern, names) {
  if (pattern?.type === "Identifier") names.add(pattern.name);
  if (pattern?.type === "RestElement") collectTargets(pattern.argument, names);
  if (pattern?.type === "AssignmentPattern") collectTargets(pattern.left, names);
  if (pattern?.type === "ArrayPattern") for (const each of pattern.elements) collectTargets(each, names);
  if (pattern?.type === "ObjectPattern")
    for (const each of pattern.properties) collectTargets(each.value ?? each.argument, names);
}
