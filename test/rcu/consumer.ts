/**
 * The package as somebody else's project sees it: packed, unpacked into a node_modules of its own without any of our
 * dependencies, examples run by plain node against dist/rcu.js, and all of them type-checked against the emitted declarations.
 * After `npm run build`: node test/rcu/consumer.ts
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPacked, run } from "./packed.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tutorial = readFileSync(join(root, "userland", "subsystems", "check.md"), "utf8");
/** Those with workers, with a pool, with `using`, and one in which much can go wrong. */
const RUN = [["table", "20000"], ["hotplug"], ["release"], ["domain"], ["srcu"], ["pool"]] as const;

if (!existsSync(join(root, "dist", "rcu.js"))) throw new Error("no dist/rcu.js: run npm run build first");
const project = mkdtempSync(join(tmpdir(), "sternix-consumer-"));
try {
  const installed = installPacked(root, project, "sternix");
  cpSync(join(root, "rcu", "example"), project, { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", type: "module" }));
  const compilerOptions = {
    target: "esnext",
    module: "nodenext",
    lib: ["esnext"],
    types: ["node"],
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));

  const provide = (name: string): void =>
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  for (const [name, ...args] of RUN) {
    if (name === "pool") provide("piscina"); // The example's; sternix/rcu needs nothing.
    const said = run(project, [process.execPath, `${name}.ts`, ...args]).trimEnd();
    console.log(`${name}: ${said.split("\n").at(-1)}`);
  }
  // The model checker, on what the tutorial shows.
  for (const [, name, text] of tutorial.matchAll(/^```ts file=(\S+)\n(.*?)^```$/gms))
    if (!name!.startsWith("pagecount")) writeFileSync(join(project, name!), text!);
  const sternix = join(installed, "dist", "sternix.js");
  provide("citty");
  const checked = spawnSync(process.execPath, [sternix, "check", "lost.check.ts"], {
    cwd: project,
    encoding: "utf8",
  });
  if (
    checked.status !== 1 ||
    !checked.stdout.includes("lost.check.ts:7: Board.views.store(board, views + 1);")
  )
    throw new Error(`sternix check: status ${checked.status}\n${checked.stdout}${checked.stderr}`);
  console.log(`check: ${checked.stdout.split("\n")[0]}`);
  mkdirSync(join(project, "node_modules", "@types"));
  for (const name of ["@types/node", "undici-types"]) provide(name);
  run(project, [process.execPath, join(root, "node_modules", "typescript", "bin", "tsc"), "--project", "."]);
  const programs = readdirSync(project).filter((name) => name.endsWith(".ts")).length;
  console.log(`${programs} programs type-check against the package's declarations`);
} finally {
  rmSync(project, { recursive: true, force: true });
}
