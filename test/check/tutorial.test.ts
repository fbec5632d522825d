/** userland/subsystems/check.md: what stands there is typed in, and prints what stands there. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const blocksOf = (name: string) =>
  [...readFileSync(path(name), "utf8").matchAll(/^```(\w+)([^\n]*)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1]!,
    info: match[2]!.trim(),
    text: match[3]!,
  }));
const blocks = blocksOf("userland/subsystems/check.md");
const folder = mkdtempSync(join(tmpdir(), "sternix-check-tutorial-"));
test.after.always(() => rmSync(folder, { recursive: true }));
for (const { language, info, text } of blocks) {
  const name = /^file=(\S+)$/.exec(info)?.[1];
  if (language === "ts" && name !== undefined) writeFileSync(join(folder, name), text);
}
// The subsystem of the other tutorial, as it is after its second step.
const pagecount = blocksOf("userland/subsystems/README.md").find(
  ({ info }) => info === "file=step2/pagecount.ts",
)!;
writeFileSync(join(folder, "pagecount.ts"), pagecount.text);

const commands = blocks.flatMap(({ info, text }, index) =>
  info === "run" ? [{ words: text.trim().split(" "), output: blocks[index + 1]! }] : [],
);

/** How much was explored depends on the library, which changes. */
const withoutCounts = (text: string) => text.replace(/\([\d,.e+]+ states?[^)]*\)/g, "(...)");

test("every kind of mistake has its place in the tutorial", (t) => {
  const kinds = commands.flatMap(({ output }) => /\): ([\w -]+):/.exec(output.text)?.[1] ?? []);
  t.deepEqual(kinds.sort(), [
    "broken invariant",
    "deadlock",
    "leak",
    "lost update",
    "lost update",
    "missed wake-up",
    "proved",
    "stale value",
    "use after free",
  ]);
});

for (const { words, output } of commands)
  test.serial(`${words.join(" ")} prints what the tutorial says`, (t) => {
    const [name, ...rest] = words;
    t.is(name, "sternix");
    const run = spawnSync(process.execPath, [path("userland/cli/main.ts"), ...rest], {
      cwd: folder,
      encoding: "utf8",
    });
    const printed = withoutCounts(run.stdout);
    const wanted = withoutCounts(output.text);
    t.is(output.info === "begins" ? printed.slice(0, wanted.length) : printed, wanted, run.stderr);
    t.is(run.status, wanted.includes("proved:") ? 0 : 1);
  });
