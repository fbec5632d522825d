import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { prebuild } from "../../userland/riscv64/start-modules.ts";
import { fixture } from "../guest/cases.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const bin = join(project, "dist", "sternix.js");

test.before("build", () => {
  execFileSync(process.execPath, [join(project, "build.mjs")], { stdio: "pipe" });
});

const sternix = (args: string[], input = "") =>
  spawnSync(process.execPath, [bin, ...args], { encoding: "utf8", input, timeout: 60_000 });

test("the built command knows its version", (t) => {
  const { version } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  t.is(sternix(["--version"]).stdout, `${version}\n`);
});

test("what is constant in the source is constant in the build", (t) => {
  const dist = join(project, "dist");
  let constants = 0;
  for (const file of readdirSync(dist).filter((name) => name.endsWith(".js"))) {
    const code = readFileSync(join(dist, file), "utf8");
    constants += [...code.matchAll(/^const\b/gm)].length;
    // What is taken out of an object is, too, unless it is assigned again: nothing here is.
    t.notRegex(code, /^var \{/m, file);
    // V8 folds constants only; esbuild's bundles declare every module's variables with `var`.
    for (const [, name] of code.matchAll(/^var ([\w$]+) = /gm)) {
      const id = name!.replaceAll("$", "\\$&");
      const before = `(\\+\\+|--|[[,{]\\s*)`;
      const after = `(\\s*([-+*/%&|^]|<<|>>>?|[&|?]{2})?=(?![=>])|\\+\\+|--)`;
      const assignment = new RegExp(`${before}${id}\\b|(?<!^var )\\b${id}${after}`, "m");
      t.regex(code, assignment, `${file}: ${name} is never assigned again`);
    }
  }
  t.true(constants > 1000, `${constants} constants`);
  t.regex(readFileSync(join(dist, "rcu.js"), "utf8"), /rcuReadLock/);
});

test("the modules that an engine starts with are in the build, as the source makes them", (t) => {
  const dist = join(project, "dist");
  const code = readdirSync(dist)
    .filter((name) => name.endsWith(".js"))
    .map((name) => readFileSync(join(dist, name), "utf8"));
  for (const [name, bytes] of Object.entries(prebuild())) {
    t.true(WebAssembly.validate(bytes), name);
    const text = Buffer.from(bytes).toString("base64");
    t.is(code.filter((file) => file.includes(text)).length, 1, name);
  }
});

test("the built command boots its workers and runs a guest", (t) => {
  const run = sternix(["run", fixture("hello")]);
  t.is(run.stderr, "");
  t.is(run.stdout, "hello from riscv64\n");
  t.is(run.status, 0);
  t.is(sternix(["run", "--cpus", "1", fixture("exit"), "7"]).status, 7);
});

test("a TypeScript program written against the built library runs in the built command", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sternix-dist-"));
  const library = JSON.stringify(join(project, "dist", "index.js"));
  const source = `import { program } from ${library};
export default program(function* (sys, argv: readonly string[]) {
  yield* sys.print(\`pid \${(yield* sys.getpid()) > 0} \${argv[1]}\\n\`);
  return 5;
});`;
  writeFileSync(join(folder, "prog.ts"), source);
  const run = sternix(["run", join(folder, "prog.ts"), "word"]);
  t.is(run.stderr, "");
  t.is(run.stdout, "pid true word\n");
  t.is(run.status, 5);
});

test("the built command has the workloads, and benchmarks them", (t) => {
  const run = sternix(["run", "--cpus", "1", "workload:fd-churn", "--iterations", "5"]);
  t.is(run.stderr, "");
  t.like(JSON.parse(run.stdout.trimEnd().split("\n").at(-1)!), { workload: "fd-churn", operations: 5 });
  const json = join(mkdtempSync(join(tmpdir(), "sternix-dist-")), "a.json");
  const once = ["--rounds", "1", "--passes", "1", "--ms", "1", "--threads", "1", "--json", json];
  t.is(sternix(["bench", "workloads", "--only", "fd-churn", ...once]).status, 0);
  const { cells } = JSON.parse(readFileSync(json, "utf8"));
  t.like(cells[0], { name: "fd-churn, cycles", conditions: { cpus: 1 } });
  const scopes = ["--only", "scope of a flavour", "--contenders", "fast Srcu,liburcu qsbr"];
  t.is(
    sternix(["bench", "rcu", ...scopes, "--rounds", "1", "--passes", "1", "--ms", "1", "--json", json])
      .status,
    0,
  );
  t.like(JSON.parse(readFileSync(json, "utf8")).cells[0], { contender: "fast Srcu", unit: "ns" });
  t.true(existsSync(join(project, "dist", "bench-liburcu.c")));
});

test("the built RCU library works by itself", (t) => {
  const script = `
    const rcu = await import(${JSON.stringify(join(project, "dist", "rcu.js"))});
    const heap = rcu.Heap.create({ bytes: 8 << 20 });
    const Item = rcu.struct("item", { value: rcu.fixed() });
    const item = rcu.alloc(Item);
    Item.value.init(item, 42);
    const before = [Item.value.get(item), rcu.liveObjects(Item)];
    rcu.kfreeRcu(Item, item);
    rcu.rcuBarrier();
    console.log(JSON.stringify([...before, rcu.liveObjects(Item)]));
    heap.detach();`;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  t.is(run.stderr, "");
  t.is(run.stdout, "[42,1,0]\n");
});

/** A project of somebody who has installed the package: what a README's text says, in files. */
function installed(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "sternix-dist-"));
  mkdirSync(join(folder, "node_modules", "@types"), { recursive: true });
  symlinkSync(project, join(folder, "node_modules", "sternix"));
  for (const name of ["@types/node", "undici-types"])
    symlinkSync(join(project, "node_modules", name), join(folder, "node_modules", name));
  const config = {
    compilerOptions: {
      target: "esnext",
      module: "nodenext",
      lib: ["esnext"],
      types: ["node"],
      strict: true,
      noEmit: true,
      erasableSyntaxOnly: true,
    },
  };
  const all = { "package.json": '{ "type": "module" }', "tsconfig.json": JSON.stringify(config), ...files };
  for (const [name, text] of Object.entries(all)) writeFileSync(join(folder, name), text);
  return folder;
}

const textBlock = (document: string, start: RegExp): string => {
  const text = readFileSync(join(project, document), "utf8");
  const block = new RegExp(`^\`\`\`ts${start.source}(.*?)^\`\`\`$`, "ms").exec(text)?.[1];
  if (block === undefined) throw new Error(`${document} has no block ${start.source}`);
  return block;
};
const tutorialFile = (name: string) =>
  textBlock("userland/subsystems/README.md", new RegExp(` file=${name.replace(".", "\\.")}\\n`));

const compiles = (folder: string) =>
  spawnSync(process.execPath, [join(project, "node_modules/typescript/bin/tsc"), "-p", folder], {
    encoding: "utf8",
  });

test("the subsystem of the tutorial compiles and runs against the built package", (t) => {
  const folder = installed({
    "pagecount.ts": tutorialFile("step3/pagecount.ts"),
    "openfiles.ts": tutorialFile("step1/openfiles.ts"),
    "embed.ts": tutorialFile("step3/embed.ts"),
  });
  t.is(compiles(folder).stdout, "");
  const limit = "/sys/kernel/pagecount/limit";
  const run = spawnSync(
    process.execPath,
    [
      bin,
      "run",
      "--subsystem",
      "./pagecount.ts?limit=2",
      "./openfiles.ts",
      limit,
      ...Array(3).fill("/etc/passwd"),
    ],
    { cwd: folder, encoding: "utf8" },
  );
  t.is(run.stdout, "/etc/passwd: opened\n/etc/passwd: opened\n/etc/passwd: errno 24\n2\n", run.stderr);
  const embedded = spawnSync(process.execPath, ["embed.ts"], { cwd: folder, encoding: "utf8" });
  t.is(embedded.stdout, "/etc/passwd: opened\n/etc/passwd: errno 24\n1\n\n", embedded.stderr);
  const wrong = installed({
    "wrong.ts": `import { defineSubsystem, table } from "sternix";
import { text } from "sternix/rcu";
export default defineSubsystem({
  name: "wrong",
  tables: { names: table.hashMap({ key: text() }) },
  hooks: { taskExit: ({ tables }) => void tables.names.get("without a scope") },
});
`,
  });
  t.regex(compiles(wrong).stdout, /wrong\.ts.*error TS2554/, "the types of the built package hold the rules");
});

test("the types of the embedding API resolve for NodeNext and for bundlers, strictly, declarations included", (t) => {
  const source = `import {
  type CpuLostError,
  type GuestProcess,
  Machine,
  type MachineOptions,
  type MachineStats,
  type ProcessExit,
  SpawnError,
  type SpawnOptions,
} from "sternix";

const options: MachineOptions = { cpus: 1, mounts: [{ host: ".", guest: "/here" }], subsystems: ["kvcache"] };
export async function walk(streams: Pick<SpawnOptions, "stdin" | "stdout">): Promise<ProcessExit> {
  await using machine = await Machine.boot(options);
  const started: GuestProcess = machine.spawn("ls", { env: process.env, stdio: "pipe", ...streams });
  for await (const text of started.stdout.pipeThrough(new TextDecoderStream())) console.log(text.length);
  const stats: MachineStats = machine.stats();
  console.log(stats.syscalls.openat?.toFixed());
  return started.exited.catch((error: SpawnError | CpuLostError) => {
    throw error instanceof SpawnError ? error.code : error.cpu;
  });
}
// @ts-expect-error: what the machine needs is not the embedder's.
export const pump = (started: GuestProcess) => started.pump();
`;
  const folder = installed({ "walk.ts": source });
  const config = JSON.parse(readFileSync(join(folder, "tsconfig.json"), "utf8"));
  const strict = { ...config.compilerOptions, exactOptionalPropertyTypes: true, skipLibCheck: false };
  for (const face of [{}, { module: "esnext", moduleResolution: "bundler", lib: ["esnext", "dom"] }]) {
    const compilerOptions = { ...strict, ...face };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ ...config, compilerOptions }));
    t.is(compiles(folder).stdout, "", JSON.stringify(face));
  }
});

test("the README's embedding example compiles and runs against the built package", (t) => {
  const folder = installed({
    "example.ts": textBlock("README.md", /\n(?=import \{ DEFAULT_ENV, Machine \})/),
    "hello.ts":
      'import { program } from "sternix";\nexport default program(function* (sys) {\n  yield* sys.print("hello\\n");\n});\n',
  });
  t.is(compiles(folder).stdout, "");
  const run = spawnSync(process.execPath, ["example.ts"], { cwd: folder, encoding: "utf8" });
  t.is(run.stdout, "hello\n0 null\n", run.stderr);
});

test("the built command tells an older Node which one it needs, in one line", (t) => {
  const { engines } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const code = readFileSync(bin, "utf8");
  t.regex(code, new RegExp(`"${engines.node.replace(">=", "")}"`), "the version is that of package.json");
  t.notRegex(code, /^import /m, "nothing is loaded before the version is known");
  const pretend = 'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"24.11.9"})';
  const run = spawnSync(process.execPath, ["--import", pretend, bin, "--version"], { encoding: "utf8" });
  t.is(run.stderr, "sternix: this is Node 24.11.9; Sternix needs Node 24.12 or newer\n");
  t.is(run.status, 125);
});
