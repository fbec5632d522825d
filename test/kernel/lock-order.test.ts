/** The kernel's locks: their ranks are documented, and a debug machine reports what breaks the rules. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { lockClasses } from "../../rcu/index.ts";
import { INNERMOST } from "../../rcu/kernel.ts";
import "../../userland/index.ts"; // The kernel with all its structs.
import { bootTestMachine, faultyWorker } from "./machine/boot-machine.ts";
import { call, exit } from "./machine/tiny-elf.ts";

/** The locks of rcu/ are taken last, whatever the kernel holds; but for this one, which its users hold, and which the kernel does not use. */
const HELD_LONG = "percpu_rwsem.lock";
const kernel = lockClasses().filter(
  ({ name, rank }) => rank !== INNERMOST && name !== HELD_LONG && !name.startsWith("test"),
);
const folder = fileURLToPath(new URL("../../kernel/", import.meta.url));
const readme = (name: string): string => readFileSync(`${folder}${name}`, "utf8");

test("every lock of the kernel has a rank, and kernel/README.md lists them", (t) => {
  t.deepEqual(
    kernel.filter(({ rank }) => rank === 0),
    [],
  );
  const byRank = new Map<number, string[]>();
  for (const { name, rank } of kernel) byRank.set(rank, [...(byRank.get(rank) ?? []), `\`${name}\``]);
  const lines = [...byRank].map(([rank, names]) => `| ${rank} | ${names.join(", ")} |`);
  const listed = readme("README.md")
    .split("\n")
    .filter((line) => /^\| \d+ \| `/.test(line));
  t.deepEqual(listed, lines, lines.join("\n"));
});

test("the lock orders in the READMEs of the kernel's folders are those of the ranks", (t) => {
  const plain = (name: string): string => name.replaceAll("_", "").toLowerCase();
  const ranks = new Map(kernel.map(({ name, rank }) => [plain(name), rank]));
  /** Ranks of the locks that a piece of prose names as `Struct.field`. */
  const named = (text: string): number[] =>
    [...text.matchAll(/`(\w+\.\w+)`/g)].flatMap(([, name]) => ranks.get(plain(name!)) ?? []);
  let compared = 0;
  const ordered = (where: string, parts: readonly string[]): void => {
    let before = 0;
    for (const part of parts) {
      const found = named(part);
      if (found.length === 0) continue;
      t.true(Math.min(...found) >= before, `${where}: ${part}`);
      before = Math.max(...found);
      compared++;
    }
  };
  for (const name of readdirSync(folder, { withFileTypes: true })) {
    if (!name.isDirectory() || !readdirSync(`${folder}${name.name}`).includes("README.md")) continue;
    const text = readme(`${name.name}/README.md`);
    for (const section of text.split(/^## /m).slice(1))
      if (/^Locks?\b/.test(section)) ordered(name.name, section.match(/^\d+\. .*(?:\n {3}.*)*/gm) ?? []);
    for (const sentence of text.split(/[.;:]\s/))
      if (sentence.includes(" -> ")) ordered(name.name, sentence.split(" -> "));
  }
  t.true(compared >= 20, String(compared));
});

test.serial(
  "a debug machine reports a handler that leaves, sleeps or goes out of order with a lock",
  async (t) => {
    const { machine, log, start } = await bootTestMachine(1, faultyWorker, { debug: true });
    for (const [nr, what] of [
      [
        504,
        /the end of system call 504 with group\.lock at \d+ \(rank \d+\), which was taken[\s\S]*keepLock/,
      ],
      [505, /lock order: this thread takes group\.lock .* holds sighand\.lock[\s\S]*holdSighand/],
      [506, /the end of system call 506 with group\.lock[\s\S]*keepLock/],
    ] as const) {
      log.length = 0;
      const { signal } = await start([...call(nr), ...exit(0)]).exited;
      t.not(signal, null, `call ${nr} killed its process`);
      t.true(
        log.some((line) => line.startsWith("Oops") && what.test(line)),
        `${nr}: ${log.join("\n")}`,
      );
      t.is((await start(exit(4)).exited).code, 4, "the machine goes on");
    }
    await machine.shutdown();
  },
);
