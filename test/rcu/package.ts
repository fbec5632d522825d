import {
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
const laidOut = join(root, "dist", "sternix-rcu");
/** Arguments of examples: fewer updates than by themselves. */
const ARGUMENTS: Readonly<Record<string, readonly string[]>> = { table: ["20000"] };
const TORTURE = ["--seconds", "2"];

/** Installs the runtime, named as for npm, and says how to run a program with it. */
function runtime(folder: string, name: string): string[] {
  const program = name.replace(/@.*/, "");
  const home = join(folder, name);
  mkdirSync(home);
  const scripts = { [program]: true };
  writeFileSync(join(home, "package.json"), JSON.stringify({ private: true, allowScripts: scripts }));
  run(home, ["npm", "install", "--silent", "--no-audit", "--no-fund", name]);
  const file = join(home, "node_modules", ".bin", program);
  return program === "deno" ? [file, "run", "-A"] : [file];
}

/** Every link in the package's documents leads to a file of the package, or to a web page. */
function checkLinks(folder: string): number {
  let links = 0;
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".md")))
    for (const [, target] of readFileSync(join(folder, name), "utf8").matchAll(/\]\(([^)#\s]+)/g)) {
      links++;
      if (/^https:/.test(target!) || existsSync(join(folder, target!))) continue;
      throw new Error(`${name} links to ${target}, which the package does not have`);
    }
  return links;
}

/** The declarations need no others, of Node.js or the DOM. */
function checkTypes(project: string): void {
  const options = {
    target: "esnext",
    module: "nodenext",
    lib: ["esnext"],
    types: [],
    strict: true,
    noEmit: true,
  };
  writeFileSync(
    join(project, "tsconfig.json"),
    JSON.stringify({ compilerOptions: options, files: ["typed.ts"] }),
  );
  writeFileSync(
    join(project, "typed.ts"),
    `import { RcuDomain, RcuHashMap, text, int } from "sternix-rcu";
const domain = RcuDomain.create({ announce: true });
const map: RcuHashMap<string, number> = new RcuHashMap({ key: text(), value: int() });
export const value: number | undefined = domain.run((scope) => map.get(scope, "a"));
`,
  );
  run(project, [process.execPath, join(root, "node_modules/typescript/bin/tsc"), "--project", project]);
}

if (!existsSync(laidOut)) throw new Error("no dist/sternix-rcu: run npm run build first");
const project = mkdtempSync(join(tmpdir(), "sternix-rcu-"));
try {
  const installed = installPacked(laidOut, project, "sternix-rcu");
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(
    join(project, "required.cjs"),
    'const { RcuDomain } = require("sternix-rcu");\nconsole.log(RcuDomain.create().run(() => 7));\nprocess.exit();\n',
  );
  console.log(`${checkLinks(installed)} links of the documents lead somewhere`);
  checkTypes(project);
  console.log("the declarations stand alone");
  // The example's; the package needs nothing.
  symlinkSync(join(root, "node_modules", "piscina"), join(project, "node_modules", "piscina"));

  const names = process.argv.slice(2);
  const runtimes =
    names.length === 0
      ? [["this Node.js", [process.execPath]] as const]
      : names.map((name) => [name, runtime(project, name)] as const);
  for (const [name, command] of runtimes) {
    const examples = readdirSync(join(installed, "example"));
    for (const file of examples) {
      const args = ARGUMENTS[file.replace(".js", "")] ?? [];
      run(project, [...command, `node_modules/sternix-rcu/example/${file}`, ...args]);
    }
    run(project, [...command, "node_modules/sternix-rcu/torture.js", ...TORTURE]);
    if (run(project, [...command, "required.cjs"]) !== "7\n") throw new Error(`${name}: require() failed`);
    console.log(`${name}: ${examples.length} examples, torture and require() work`);
  }
} finally {
  rmSync(project, { recursive: true, force: true });
}
