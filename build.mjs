/**
 * Builds dist/: the library (index.js), sternix/rcu (rcu.js), the worker entry (cpu-worker.js), the command line
 * (sternix.js) and type declarations. Third-party packages stay outside: piscina must load its own worker file.
 *
 * Chunks and entries all lie flat in dist/, so that `new URL("./cpu-worker.js", import.meta.url)` is right from any of them.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { WORKLOADS } from "./userland/programs/workloads/index.ts";

process.chdir(dirname(fileURLToPath(import.meta.url)));
rmSync("dist", { recursive: true, force: true });

await build({
  entryPoints: {
    index: "userland/index.ts",
    rcu: "rcu/index.ts",
    "cpu-worker": "userland/cpu-worker.ts",
    sternix: "userland/cli/main.ts",
    kvcache: "userland/subsystems/kvcache/index.ts",
    sysstat: "userland/subsystems/sysstat/index.ts",
    "syscall-policy": "userland/subsystems/syscall-policy/index.ts",
    "torture-worker": "rcu/torture/torture-worker.ts",
    "bench-table-worker": "userland/bench/table-worker.ts",
    "bench-grace-worker": "userland/bench/grace-worker.ts",
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
});
chmodSync("dist/sternix.js", 0o755);
// The guest that `sternix bench syscalls` runs, and its source, which is built for the host where there is a compiler.
copyFileSync("test/guest/bin/syscalls", "dist/bench-syscalls-guest");
copyFileSync("test/guest/src/syscalls.c", "dist/bench-syscalls-guest.c");

const declarations = {
  extends: "../tsconfig.json",
  compilerOptions: {
    declaration: true,
    emitDeclarationOnly: true,
    stripInternal: true,
    rootDir: "..",
    outDir: "types",
  },
  include: ["../rcu/index.ts", "../userland/index.ts", "../kernel/webassembly.d.ts"],
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
