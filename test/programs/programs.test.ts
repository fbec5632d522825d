import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import test from "ava";
import { Machine } from "../../userland/index.ts";
import { run as runOn } from "../guest/run.ts";

let machine: Machine;
test.before("boot", async () => {
  const guest = fileURLToPath(new URL("../guest/bin", import.meta.url));
  machine = await Machine.boot({ cpus: 2, mounts: [{ host: guest, guest: "/guest" }] });
});
test.after.always("shut down", () => machine?.shutdown());

const run = (name: string, args: string[] = [], env: Record<string, string> = {}) =>
  runOn(machine, new URL(`programs/${name}.ts`, import.meta.url), { args, env });

const prints = (name: string, lines: readonly string[], status = 0) =>
  test.serial(`${name} prints what its calls return`, async (t) => {
    const result = await run(name);
    t.is(result.stderr, "");
    t.deepEqual(result.stdout.trimEnd().split("\n"), lines);
    t.is(result.status, status);
  });

test.serial("a program has argv, an environment, children, pipes and an exit status", async (t) => {
  const result = await run("pipeline", ["a", "b"], { GREETING: "hi" });
  t.is(result.stderr, "");
  t.deepEqual(result.stdout.trimEnd().split("\n"), [
    "argv a,b env hi",
    "LINE 1",
    "LINE 2",
    "LINE 3",
    "status 11",
    "status 12",
    "no child -10",
  ]);
  t.is(result.status, 3);
});

prints("files", [
  "write 6",
  "seek 1",
  "read 5 ällo",
  "size 6 mode 640",
  "dup2 20 close 0 again -9",
  "readlink file",
  "cwd /tmp/dir",
  "entries . .. link other",
  "dangling -2",
  "rmdir -39",
  "rmdir 0",
  "big 300000",
  "same true",
]);

prints("signals", [
  "usr10, nested, after kill",
  "alarm 14",
  "suspended true",
  "alarm 14",
  "sleep interrupted true",
  "restarted read 1",
  "child killed by 15",
]);

prints("threads", ["counter 150 guarded 150", "shared 6 private 5", "timeout -110"]);

prints("events", ["idle []", 'woken [{"events":1,"data":4242}]', "both 2", "poll [1,4,32]", "slept true"]);

test.serial(
  "entries run on the CPU they are asked for, with their parent's descriptors and shared memory",
  async (t) => {
    const { stdout, stderr, status } = await run("cpus", ["x"], { GREETING: "hi" });
    t.is(stderr, "");
    const lines = stdout.trimEnd().split("\n");
    t.deepEqual(lines.slice(0, 5), [
      "cpu 0 true x hi 7",
      "cpu 1 true x hi 7",
      "2 of 2 statuses, sum 3",
      "no such cpu -22",
      "killed by 10",
    ]);
    t.deepEqual(lines.slice(5).sort(), ["a", "b"]);
    t.is(status, 2);
  },
);

test.serial("sockets, links, queued signals; ok() throws an error that knows its call", async (t) => {
  const { stdout, stderr, status } = await run("sockets");
  t.deepEqual(stdout.trimEnd().split("\n"), [
    "received ping",
    "nobody -11",
    "from a path",
    "closed -9",
    "links 2 true",
    "access 0 -2",
    "queued 0 delivered 5",
    "newfstatat ENOENT 2 newfstatat: No such file or directory (ENOENT)",
    "nanosleep EINTR",
  ]);
  t.regex(stderr, /^SysError: unlinkat: No such file or directory \(ENOENT\)\n\s+at /);
  t.is(status, 1);
});

prints("spawn", ["child said: hello from riscv64", "missing 127"], 21);

test.serial("an exception that nobody catches is printed with its stack and ends with 1", async (t) => {
  const thrown = await run("wrong", ["throw"]);
  t.is(thrown.status, 1);
  t.regex(thrown.stderr, /^Error: a mistake of the program\n\s+at .*wrong\.ts/);
  const fault = await run("wrong", ["fault"]);
  t.is(fault.status, 1);
  t.regex(fault.stderr, /address 0x10 cannot be read/);
});

test.serial("a bad address is an exception for the program and EFAULT for the kernel", async (t) => {
  t.is((await run("wrong", ["caught"])).stdout, "address 0x0 cannot be written\n");
  t.is((await run("wrong", ["efault"])).stdout, "-14\n");
});

test.serial("a program killed by a signal ends with 128 and its number", async (t) => {
  t.is((await run("wrong", ["kill"])).status, 137);
});

test.serial("a module that is no program, or cannot be loaded, is named and ends with 126", async (t) => {
  const none = await run("no-program");
  t.is(none.status, 126);
  t.regex(none.stderr, /^sternix: .*no-program\.ts: its default export is not program\(/);
  const broken = await run("broken");
  t.is(broken.status, 126);
  t.regex(broken.stderr, /^sternix: .*broken\.ts:1:7: this module cannot be loaded\n$/);
});

/** Modules with a mistake, and what is said of each, behind the folder's name. */
const MISTAKES: Readonly<Record<string, readonly [string, RegExp]>> = {
  "syntax.ts": ["let a = 1;\n  const b = ;\n", /^syntax\.ts:2:13: Expression expected$/],
  "types.ts": [
    "enum Color { Red }\n",
    /^types\.ts:1:1: TypeScript enum is not supported in strip-only mode$/,
  ],
  "plain.mjs": ["let a = 1;\nlet b = (1;\n", /^plain\.mjs:2:11: Unexpected token/],
  "imports.ts": ['import "./syntax.ts";\n', /^syntax\.ts:2:13: Expression expected$/],
  "missing.ts": ['\nimport { a } from "./not-there.ts";\n', /^missing\.ts:2:2\d: Cannot find module /],
  "name.ts": [
    'import { b } from "./types2.ts";\n',
    /^name\.ts:1:10: .* does not provide an export named 'b'$/,
  ],
  "throws.ts": ["\n\n  null.x;\n", /^throws\.ts:3:8: Cannot read properties of null/],
  "waits.ts": ["await 1;\n", /^waits\.ts: await at the top level of a module: /],
};

test.serial("what is wrong with a module is said with file, line and column", async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "sternix-")));
  writeFileSync(join(folder, "types2.ts"), "export const a = 1;\n");
  for (const [name, [text]] of Object.entries(MISTAKES)) writeFileSync(join(folder, name), text);
  for (const [name, [, expected]] of Object.entries(MISTAKES)) {
    const { status, stderr } = await runOn(machine, pathToFileURL(join(folder, name)));
    t.is(status, 126, name);
    const prefix = `sternix: ${folder}/`;
    t.true(stderr.startsWith(prefix), stderr);
    t.regex(stderr.slice(prefix.length).trimEnd(), expected);
  }
  rmSync(folder, { recursive: true });
});
