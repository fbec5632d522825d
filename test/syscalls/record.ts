/**
 * Records boundary.json, what the Linux of this machine (x86-64) answers to the calls of vectors.ts: node test/syscalls/record.ts
 * Needs gcc, root, and unshare and setpriv of util-linux: the calls are made by uid 1000 in namespaces of their own.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { syscalls } from "../../syscalls/table.ts";
import { ANSWERS, type Answers, pack } from "./answers.ts";
import { LEFT_OUT, line, vectorsOf } from "./vectors.ts";

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

const vectors = syscalls
  .filter((call) => !(call.name in LEFT_OUT) && !FOREIGN.includes(call.name))
  .flatMap(vectorsOf);
writeFileSync(join(folder, "input"), vectors.map((vector) => line(vector, true)).join(""));
// Pids far from every boundary value; a private /tmp, /proc and network.
const inside = `mount -t tmpfs none /tmp && mount -t proc proc /proc && mkdir /tmp/x && chmod 777 /tmp/x && cd /tmp/x && umask 022 &&
  echo 30000 > /proc/sys/kernel/ns_last_pid && setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all /dev/fd/9; true`;
const run = spawnSync(
  "unshare",
  [
    "-m",
    "-p",
    "-f",
    "-i",
    "-u",
    "-n",
    "--kill-child",
    "sh",
    "-c",
    `exec 9<${program} 8<${folder}/input; exec 0<&8; ${inside}`,
  ],
  {
    encoding: "latin1",
    maxBuffer: 1 << 26,
  },
);
const answers = run.stdout.trim().split("\n");
if (answers.length !== vectors.length)
  throw new Error(
    `${answers.length} answers to ${vectors.length} calls: ${run.stderr} ${vectors[answers.length]?.call.name}`,
  );
const byCall: Record<string, string[]> = {};
vectors.forEach(({ call }, n) => {
  byCall[call.name] ??= [];
  byCall[call.name]!.push(answers[n]!);
});
const packed: Answers = Object.fromEntries(Object.entries(byCall).map(([name, list]) => [name, pack(list)]));
writeFileSync(ANSWERS, `${JSON.stringify(packed, null, 1)}\n`);
rmSync(folder, { recursive: true });
console.log(`${vectors.length} calls, ${readFileSync(ANSWERS).length} bytes`);
