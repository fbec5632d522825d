import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import test from "ava";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const tutorial = readFileSync(path("userland/subsystems/README.md"), "utf8");
const cli = path("userland/cli/main.ts");

interface Block {
  readonly language: string;
  readonly info: string;
  readonly text: string;
}
const blocks: Block[] = [...tutorial.matchAll(/^```(\w+)([^\n]*)\n(.*?)^```$/gms)].map((match) => ({
  language: match[1]!,
  info: match[2]!.trim(),
  text: match[3]!,
}));

const folder = mkdtempSync(join(tmpdir(), "sternix-tutorial-"));
for (const { language, info, text } of blocks) {
  const name = /^file=(\S+)$/.exec(info)?.[1];
  if (language !== "ts" || name === undefined) continue;
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
}
/** A step goes on where the one before stopped: the files that it does not change are there. */
for (const step of ["step2", "step3"])
  if (!existsSync(join(folder, step, "openfiles.ts")))
    cpSync(join(folder, "step1", "openfiles.ts"), join(folder, step, "openfiles.ts"));
test.after.always(() => rmSync(folder, { recursive: true }));

/** Words of a shell command of the tutorial: plain ones, and some in single quotes. */
const words = (command: string) =>
  [...command.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);

const commands = blocks.flatMap((block, index) => {
  const step = /^run=(\S+)$/.exec(block.info)?.[1];
  return step === undefined ? [] : [{ step, command: block.text.trim(), output: blocks[index + 1]!.text }];
});

test("the tutorial has its steps", (t) => {
  t.deepEqual(
    commands.map(({ step }) => step),
    ["step1", "step2", "step3"],
  );
});

for (const { step, command, output } of commands) {
  test.serial(`${step} of the tutorial prints what it says, as typed`, (t) => {
    const [name, ...args] = words(command);
    t.is(name, "sternix");
    const run = spawnSync(process.execPath, [cli, ...args], { cwd: join(folder, step), encoding: "utf8" });
    t.is(run.stdout, output, run.stderr);
    t.is(run.status, 0);
  });
}

test.serial("the mistake of step 4 is reported in the words of the tutorial, and the calls go on", (t) => {
  const [, from, to] = /Change `(.+?)` into `(.+?)` and run again/.exec(tutorial)!;
  const [, line] = /^ {4}(sternix: subsystem pagecount: .*)$/m.exec(tutorial)!;
  const step3 = readFileSync(join(folder, "step3", "pagecount.ts"), "utf8");
  t.true(step3.includes(from!));
  mkdirSync(join(folder, "step4"));
  writeFileSync(join(folder, "step4", "pagecount.ts"), step3.replace(from!, to!));
  cpSync(join(folder, "step1", "openfiles.ts"), join(folder, "step4", "openfiles.ts"));
  const [, ...args] = words(commands.find(({ step }) => step === "step3")!.command);
  const run = spawnSync(process.execPath, [cli, ...args], { cwd: join(folder, "step4"), encoding: "utf8" });
  t.true(run.stderr.split("\n").includes(line!), run.stderr);
  t.is(run.stdout, `${"/etc/passwd: opened\n".repeat(3)}2\n`);
});

test.serial("the embedding program of the tutorial works as typed", (t) => {
  // Installed, "sternix" is found by the package manager; here it is this checkout.
  const self = `import { registerSelf } from ${JSON.stringify(pathToFileURL(path("userland/subsystem-modules.ts")).href)}; registerSelf();`;
  const run = spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${encodeURIComponent(self)}`, "embed.ts"],
    { cwd: join(folder, "step3"), encoding: "utf8" },
  );
  t.is(run.stdout, "/etc/passwd: opened\n/etc/passwd: errno 24\n1\n\n", run.stderr);
});
