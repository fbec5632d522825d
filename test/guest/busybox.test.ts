/**
 * A real program against qemu-riscv64-static: set STERNIX_BUSYBOX to a static riscv64 busybox to run these. Without it, or without
 * qemu, they are skipped; nothing of busybox is part of the project.
 */

import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { pathToFileURL } from "node:url";
import test from "ava";
import { Machine } from "../../userland/index.ts";
import { run } from "./run.ts";

const busybox = process.env.STERNIX_BUSYBOX ?? "";
const qemu = "qemu-riscv64-static";
const able = busybox !== "" && spawnSync(qemu, ["--version"]).status === 0;
const compare = able ? test.serial : test.serial.skip;

/** Applets by themselves. */
const APPLETS: Record<string, string[]> = {
  "vi's help": ["vi", "-h"],
  dc: ["dc", "-e", "2 64 ^ p"],
  "a checksum": ["sha256sum", "/dev/null"],
  "an applet that does not exist": ["nosuchapplet"],
};

/**
 * Under qemu a shell's commands are the host's own (it cannot execve a riscv64 program there), so these use only what
 * busybox and other tools print alike.
 */
const SCRIPTS: Record<string, string> = {
  "a pipeline, a subshell's status": "echo hello | tr a-z A-Z | wc -c; (exit 3); echo $?",
  "a here-document": "cat <<END\none $((1 + 2))\ntwo\nEND",
  "background jobs":
    "for i in 1 2 3; do (sleep 0.0$i; exit $i) & done; wait; echo done; sleep 0.05 & wait $!; echo $?",
  "command substitution": 'x=$(echo a; echo b); echo "[$x]" $(echo $(echo nested))',
  sha256sum: "seq 1 20000 | sha256sum",
  "gzip and gunzip": "seq 1 5000 | gzip -c | gunzip -c | md5sum",
  find: "mkdir -p /tmp/sternix-bb/a/b && touch /tmp/sternix-bb/a/f && find /tmp/sternix-bb | sort; rm -r /tmp/sternix-bb",
  awk: "seq 1 100 | awk '{ s += $1 * 1.5 } END { printf \"%.2f\\n\", s }'",
  "sort, uniq, sed": "printf 'b\\na\\nb\\n' | sort | uniq -c | sed 's/ *//'",
  "loops and arithmetic":
    "i=0; s=0; while [ $i -lt 500 ]; do s=$((s + i * i % 7)); i=$((i + 1)); done; echo $s",
  "a signal's status": "(kill -9 $$) 2>/dev/null; sh -c 'kill -TERM $$'; echo $?",
  traps: "trap 'echo caught' USR1; kill -USR1 $$; echo after",
  "test and files":
    "cd /tmp; echo x > sternix-t; [ -s sternix-t ] && wc -c < sternix-t; ln -s sternix-t sternix-l; readlink sternix-l; rm sternix-t sternix-l",
  "an unknown command": "nosuchcommand 2>/dev/null; echo $?",
};

for (const cpus of [1, 2, 4, 8]) {
  let machine: Machine | undefined;
  const boot = async () => (machine ??= await Machine.boot({ cpus }));
  const everything = [
    ...Object.entries(SCRIPTS).map(([what, script]) => [`sh: ${what}`, ["sh", "-c", script]] as const),
    ...Object.entries(APPLETS),
  ];
  for (const [what, args] of everything) {
    compare(`busybox on ${cpus} CPUs: ${what}`, async (t) => {
      const ours = await run(await boot(), pathToFileURL(busybox), { args });
      const theirs = spawnSync(qemu, ["-0", "busybox", busybox, ...args], { encoding: "utf8" });
      t.is(ours.stdout, theirs.stdout);
      t.is(ours.status, theirs.status ?? 128 + constants.signals[theirs.signal!]);
    });
  }
  test.after.always(`shut down the machine with ${cpus} CPUs`, async () => {
    await machine?.shutdown();
  });
}
