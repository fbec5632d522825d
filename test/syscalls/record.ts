/**
 * Records boundary.json and contents.json, what the Linux of this machine (x86-64) answers to the calls of vectors.ts and
 * contents.ts: node test/syscalls/record.ts [CALL...]; with names of calls only theirs, the other answers stay.
 * Needs gcc, root, and unshare and setpriv of util-linux: the calls are made by uid 1000 in namespaces of their own.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { syscalls } from "../../syscalls/table.ts";
import { ANSWERS, type Answers, CONTENTS, pack, recorded } from "./answers.ts";
import { contentsOf } from "./contents.ts";
import { LEFT_OUT, line, type Vector, vectorsOf } from "./vectors.ts";

const NAMES = process.argv.slice(2);
/** Only riscv64 has these, or the headers that record.ts was made with do not know them. */
const FOREIGN = ["riscv_flush_icache", "riscv_hwprobe", "rt_sigreturn", "fchmodat2"];
const SOURCE = fileURLToPath(new URL("../guest/src/boundary.c", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sternix-record-"));
chmodSync(folder, 0o777);

const numbers = new Map(
  execFileSync("gcc", ["-dM", "-E", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], {
    encoding: "utf8",
  })
    .matchAll(/^#define __NR_(\w+) (\d+)$/gm)
    .map(([, name, nr]) => [name!, Number(nr)]),
);
const native = new Array<number>(512).fill(-1);
for (const call of syscalls) native[call.nr] = numbers.get(call.name) ?? -1;
writeFileSync(
  join(folder, "native.h"),
  `static const short native[] = {${native.join(",")}};
static inline long sys6(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  if (n == 220) { n = 56; r10 = e; r8 = d; } else n = native[n];
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl back\\nback: mov $15, %eax\\n syscall\\n.globl _start\\n_start: mov %rsp, %rdi\\n and $-16, %rsp\\n call start_c\\n");
extern char back[];
static inline long on_signal(int sig, void *handler, unsigned long flags) {
  void *action[4] = {handler, (void *)(flags | 0x04000000), back, 0};
  return sys6(134, sig, (long)action, 0, 8, 0, 0);
}
`,
);
const program = join(folder, "boundary");
const flags =
  "-O2 -static -nostdlib -ffreestanding -fno-stack-protector -fno-tree-loop-distribute-patterns -fno-pic -no-pie -w";
execFileSync("gcc", [...flags.split(" "), "-DNATIVE", `-I${folder}`, "-o", program, SOURCE]);

// Pids far from every boundary value; a private /tmp, /proc and network.
const inside = `mount -t tmpfs none /tmp && mount -t proc proc /proc && ip link set lo up && mkdir /tmp/x && chmod 777 /tmp/x &&
  cd /tmp/x && umask 022 && echo 30000 > /proc/sys/kernel/ns_last_pid &&
  setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all /dev/fd/9; true`;

function ask(vectors: readonly Vector[]): string[] {
  writeFileSync(join(folder, "input"), vectors.map((vector) => line(vector, true)).join(""));
  const script = `exec 9<${program} 8<${folder}/input; exec 0<&8; ${inside}`;
  const run = spawnSync("unshare", [..."-m -p -f -i -u -n --kill-child sh -c".split(" "), script], {
    encoding: "latin1",
    maxBuffer: 1 << 26,
  });
  const answers = run.stdout.split("\n").slice(0, -1);
  if (answers.length !== vectors.length)
    throw new Error(
      `${answers.length} answers to ${vectors.length} calls: ${run.stderr} ${vectors[answers.length]?.call.name}`,
    );
  return answers;
}

function record(vectors: readonly Vector[], file: URL): void {
  const answers = ask(vectors);
  // A computer that is busy may make a call look as if it waited.
  const waiting = [...answers.keys()].filter((n) => answers[n] === "b");
  ask(waiting.map((n) => vectors[n]!)).forEach((answer, n) => {
    answers[waiting[n]!] = answer;
  });
  const byCall: Record<string, string[]> = {};
  vectors.forEach(({ call }, n) => {
    byCall[call.name] ??= [];
    byCall[call.name]!.push(answers[n]!);
  });
  const packed: Answers = Object.fromEntries(
    Object.entries(byCall).map(([name, list]) => [name, pack(list)]),
  );
  const others = NAMES.length === 0 ? {} : recorded(file);
  writeFileSync(file, `${JSON.stringify({ ...others, ...packed }, null, 1)}\n`);
  console.log(`${vectors.length} calls, ${readFileSync(file).length} bytes`);
}

const calls = syscalls.filter(
  ({ name }) =>
    !(name in LEFT_OUT) && !FOREIGN.includes(name) && (NAMES.length === 0 || NAMES.includes(name)),
);
record(calls.flatMap(vectorsOf), ANSWERS);
record(calls.flatMap(contentsOf), CONTENTS);
rmSync(folder, { recursive: true });
