import { pathToFileURL } from "node:url";
import test from "ava";
import { Machine } from "../../userland/index.ts";
import { fixture } from "./cases.ts";
import { run as runOn } from "./run.ts";

const SIGKILL = 137;

test("a guest that wants more memory than there is gets ENOMEM or is killed by name; the machine goes on", async (t) => {
  const log: string[] = [];
  const machine = await Machine.boot({ cpus: 2, memory: 32 << 20, log: (line) => log.push(line) });
  const run = (name: string, ...args: string[]) => runOn(machine, pathToFileURL(fixture(name)), { args });

  t.like(await run("hog", "8"), { status: 0, stdout: "mmap 0\n" });
  // More than the whole machine has is refused at once.
  t.like(await run("hog", "3000"), { status: 1, stdout: "mmap -12\n" });
  t.deepEqual(log, []);

  for (let round = 0; round < 3; round++) {
    const greedy = await run("hog");
    if (greedy.status === SIGKILL) t.regex(log.at(-1) ?? "", /[Oo]ut of memory.*\(hog\)/);
    else t.like(greedy, { status: 1, stdout: "mmap -12\n" });
    t.like(await run("hello"), { status: 0, stdout: "hello from riscv64\n" });
    t.like(await run("fork"), { status: 0 });
  }
  t.true(log.every((line) => /[Oo]ut of memory/.test(line)));
  await machine.shutdown();
});
