import test from "ava";
import { execReason } from "../../../kernel/exec/binfmt.ts";
import { execve as exec } from "../../../kernel/exec/exec.ts";
import { PIE_BASE } from "../../../kernel/exec/load-elf.ts";
import { argStrings } from "../../../kernel/exec/strings.ts";
import { allocFd, fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { brk } from "../../../kernel/mm/brk.ts";
import { freeFrames } from "../../../kernel/mm/frame.ts";
import { Mm, mmPut, VDSO_BASE } from "../../../kernel/mm/mm.ts";
import { ram } from "../../../kernel/mm/ram.ts";
import { mmRead } from "../../../kernel/mm/remote.ts";
import { VM_EXEC, VM_GROWSDOWN, VM_READ, VM_WRITE, Vma, vmaAt } from "../../../kernel/mm/vma.ts";
import { BLOCK_KILLABLE } from "../../../kernel/sched/block.ts";
import { clearRestart } from "../../../kernel/sched/restart.ts";
import { finishWait } from "../../../kernel/sched/waitqueue.ts";
import { commText } from "../../../kernel/task/exec.ts";
import { GROUP_EXEC, Group, Task } from "../../../kernel/task/task.ts";
import { tidy } from "../../../kernel/task/tidy.ts";
import { E2BIG, EACCES, ELOOP, ENOENT, ENOEXEC, ENOTDIR, ETXTBSY } from "../../../kernel/uapi/errno.ts";
import { O_CLOEXEC, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import { USER_REGS } from "../../../kernel/usermode.ts";
import { type Held, liveObjects, type Ref } from "../../../rcu/index.ts";
import { elfFile } from "./elf-file.ts";
import { bootForExec, put, settle } from "./machine.ts";

type Text = string | Uint8Array;
const execve = (task: Ref<"task">, path: string, argv: Text[], envp: Text[]): number =>
  exec(task, path, argStrings(argv), argStrings(envp));

const R = 4;
const W = 2;
const X = 1;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const mmOf = (task: Ref<"task">): Ref<"mm"> => Task.mm.access(task) as Ref<"mm">;
const pcOf = (task: Ref<"task">): number => ram.u32[(Task.regs.get(task) + USER_REGS.PC) >>> 2]!;
const spOf = (task: Ref<"task">): number => ram.u32[(Task.regs.get(task) + 16) >>> 2]!;
const flagsAt = (mm: Ref<"mm">, address: number): number => {
  const vma = vmaAt(mm, Math.floor(address / 4096));
  return vma === 0 ? -1 : Vma.flags.get(vma) & (VM_READ | VM_WRITE | VM_EXEC);
};

const program = elfFile({
  entry: 0x1_0010,
  segments: [
    { vaddr: 0x1_0000, flags: R | X, content: text("code, code, code") },
    { vaddr: 0x1_2ff0, flags: R | W, content: new Uint8Array(0x20).fill(7), memsz: 0x2000 },
  ],
});

/** The first stack, decoded. */
function stackOf(task: Ref<"task">): { argv: string[]; envp: string[]; auxv: Map<number, number> } {
  const mm = mmOf(task);
  let at = spOf(task);
  const word = (): number => {
    const bytes = mmRead(mm, at, 8);
    at += 8;
    return Number(new DataView(bytes.buffer).getBigUint64(0, true));
  };
  const string = (address: number): string => {
    const bytes = mmRead(mm, address, 200);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  };
  const argc = word();
  const argv = Array.from({ length: argc }, () => string(word()));
  if (word() !== 0) throw new Error("argv does not end");
  const envp: string[] = [];
  for (let p = word(); p !== 0; p = word()) envp.push(string(p));
  const auxv = new Map<number, number>();
  for (let type = word(); type !== 0; type = word()) auxv.set(type, word());
  auxv.set(-1, at);
  return { argv, envp, auxv };
}

test.serial(
  "a static program is mapped with its permissions, zeroed bss, heap behind it and the first stack",
  (t) => {
    const task = bootForExec();
    put("/prog", program);
    t.is(execve(task, "/prog", ["prog", "a b", ""], ["HOME=/", "X=ü"]), 0);
    const mm = mmOf(task);
    t.is(pcOf(task), 0x1_0010);
    t.is(spOf(task) % 16, 0);
    t.is(flagsAt(mm, 0x1_0000), VM_READ | VM_EXEC);
    t.is(flagsAt(mm, 0x1_2ff0), VM_READ | VM_WRITE);
    t.is(flagsAt(mm, 0x1_4000), VM_READ | VM_WRITE);
    t.is(flagsAt(mm, 0x1_1000), -1);
    t.is(new TextDecoder().decode(mmRead(mm, 0x1_0000, 16)), "code, code, code");
    const data = mmRead(mm, 0x1_2ff0, 0x2000);
    t.true(data.subarray(0, 0x20).every((byte) => byte === 7));
    t.true(
      data.subarray(0x20).every((byte) => byte === 0),
      "bss is zero, also behind the file's bytes on its last page",
    );
    t.is(Mm.brk.get(mm), 0x1_5000);
    t.is(brk(mm, 0x1_7123), 0x1_7123);
    t.is(flagsAt(mm, 0x1_7000), VM_READ | VM_WRITE);
    t.is(commText(task), "prog");

    const stack = stackOf(task);
    t.deepEqual(stack.argv, ["prog", "a b", ""]);
    t.deepEqual(stack.envp, ["HOME=/", "X=ü"]);
    t.is(stack.auxv.get(9), 0x1_0010, "AT_ENTRY");
    t.is(stack.auxv.get(6), 4096, "AT_PAGESZ");
    t.is(stack.auxv.get(5), 2, "AT_PHNUM");
    t.is(mmRead(mm, stack.auxv.get(25)!, 16).length, 16, "AT_RANDOM");
    t.is(new TextDecoder().decode(mmRead(mm, stack.auxv.get(31)!, 6)), "/prog\0", "AT_EXECFN");
    const stackVma = vmaAt(mm, Math.floor(spOf(task) / 4096)) as Ref<"vma">;
    t.true((Vma.flags.get(stackVma) & VM_GROWSDOWN) !== 0);
    // li a7, 139; ecall
    t.deepEqual([...mmRead(mm, VDSO_BASE, 8)], [0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0]);
  },
);

test.serial(
  "a dynamic program starts in its interpreter, which finds the program through the auxiliary vector",
  (t) => {
    const task = bootForExec();
    const ld = elfFile({
      type: 3,
      entry: 0x40,
      segments: [{ vaddr: 0, flags: R | X, content: text("loader") }],
    });
    put("/ld.so", ld);
    const pie = { type: 3, entry: 0x1080, interp: "/ld.so" };
    put("/pie", elfFile({ ...pie, segments: [{ vaddr: 0x1000, flags: R | X, content: text("program") }] }));
    t.is(execve(task, "/pie", ["pie"], []), 0);
    const { auxv } = stackOf(task);
    const base = auxv.get(7)!;
    t.is(pcOf(task), base + 0x40);
    t.is(new TextDecoder().decode(mmRead(mmOf(task), base, 6)), "loader");
    const entry = auxv.get(9)!;
    t.true(entry >= PIE_BASE);
    t.is(new TextDecoder().decode(mmRead(mmOf(task), entry - 0x80, 7)), "program");

    put(
      "/lost",
      elfFile({ ...pie, interp: "/no/ld.so", segments: [{ vaddr: 0, flags: R | X, content: text("x") }] }),
    );
    t.is(execve(task, "/lost", ["lost"], []), -ENOENT);
    t.regex(execReason, /\/no\/ld\.so/);
  },
);

test.serial("a script runs its interpreter with one argument; scripts nest five deep and no deeper", (t) => {
  const task = bootForExec();
  put("/prog", program);
  put("/s1", "#!  /prog -x  y \nrest");
  t.is(execve(task, "/s1", ["ignored", "1", "2"], []), 0);
  t.deepEqual(stackOf(task).argv, ["/prog", "-x  y", "/s1", "1", "2"]);
  t.is(commText(task), "s1");
  for (let n = 2; n <= 6; n++) put(`/s${n}`, `#!/s${n - 1}`);
  t.is(execve(task, "/s5", ["s5"], []), 0);
  t.deepEqual(stackOf(task).argv, ["/prog", "-x  y", "/s1", "/s2", "/s3", "/s4", "/s5"]);
  t.is(execve(task, "/s6", ["s6"], []), -ELOOP);
  put("/nul", "#!\n");
  t.is(execve(task, "/nul", [], []), -ENOEXEC);
  put("/gone", "#!/not/there\n");
  t.is(execve(task, "/gone", [], []), -ENOENT);
});

test.serial("what cannot be run is refused before anything changes, with a reason", (t) => {
  const task = bootForExec();
  put("/prog", program);
  t.is(execve(task, "/prog", ["prog"], []), 0);
  const mm = mmOf(task);
  const code = { vaddr: 0x1_0000, flags: R | X, content: text("code") };
  const cases: [string, Uint8Array, RegExp][] = [
    ["x86", elfFile({ entry: 0, machine: 62, segments: [code] }), /x86-64/],
    ["rv32", elfFile({ entry: 0, class: 1, segments: [code] }), /32-bit RISC-V/],
    ["object", elfFile({ entry: 0, type: 1, segments: [code] }), /object file/],
    ["cut", program.subarray(0, 4100), /truncated/],
    ["stub", program.subarray(0, 40), /truncated/],
    ["empty", elfFile({ entry: 0, segments: [] }), /no program headers/],
    ["high", elfFile({ entry: 0, segments: [{ ...code, vaddr: 0xffff_0000 }] }), /outside/],
    ["huge", elfFile({ entry: 0, segments: [{ ...code, memsz: 2 ** 50 }] }), /outside/],
    ["null", elfFile({ entry: 0, segments: [{ ...code, vaddr: 0 }] }), /address 0/],
    ["short", elfFile({ entry: 0, segments: [{ ...code, memsz: 1 }] }), /larger in the file/],
    ["overlap", elfFile({ entry: 0, segments: [code, { ...code, vaddr: 0x1_0002 }] }), /overlaps|aligned/],
    ["backwards", elfFile({ entry: 0, segments: [{ ...code, vaddr: 0x3_0000 }, code] }), /overlaps/],
  ];
  for (const [name, content, reason] of cases) {
    put(`/${name}`, content);
    t.is(execve(task, `/${name}`, [name], []), -ENOEXEC, name);
    t.regex(execReason, reason);
  }
  put("/text", "just text");
  t.is(execve(task, "/text", [], []), -ENOEXEC);
  put("/noexec", program, 0o644);
  t.is(execve(task, "/noexec", [], []), -EACCES);
  t.is(execve(task, "/", [], []), -EACCES);
  t.is(execve(task, "/prog/x", [], []), -ENOTDIR);
  t.is(execve(task, "/prog", ["x".repeat(131072)], []), -E2BIG);
  t.is(execve(task, "/prog", new Array(40).fill("y".repeat(100_000)), []), -E2BIG);
  t.is(mmOf(task), mm, "the old program is untouched");
});

test.serial("execve closes what is marked close-on-exec and leaks neither frames nor objects", (t) => {
  const task = bootForExec();
  put("/prog", program);
  put("/s", "#!/prog");
  const files = Task.files.access(task) as Ref<"files">;
  const run = (): void => {
    t.is(execve(task, "/s", ["s"], []), 0);
    while (!tidy(task)); // As the CPU loop does, before the new program runs.
    t.is(execve(task, "/lost", ["s"], []), -ENOENT);
    settle();
  };
  run();
  const counted = [Mm, Vma];
  const before = counted.map((type) => liveObjects(type));
  const frames = freeFrames();
  const kept = allocFd(files, vfsOpen(-100, "/prog", 0) as Ref<"file">, 0);
  const closed = allocFd(files, vfsOpen(-100, "/prog", 0) as Ref<"file">, O_CLOEXEC);
  for (let n = 0; n < 20; n++) run();
  t.true(fget(files, kept) > 0);
  t.true(fget(files, closed) < 0);
  t.deepEqual(
    counted.map((type) => liveObjects(type)),
    before,
  );
  t.is(freeFrames(), frames);
  const space = Mm.codeSpace.peek(mmOf(task));
  run();
  t.is(Mm.codeSpace.peek(mmOf(task)), space, "the same program has the same code number each time");
  t.is(vfsOpen(-100, "/prog", O_WRONLY), -ETXTBSY, "a program that runs is not written to");
  put(
    "/other",
    elfFile({ entry: 0x1_0000, segments: [{ vaddr: 0x1_0000, flags: R | X, content: text("x") }] }),
  );
  t.is(execve(task, "/other", ["other"], []), 0);
  settle();
  put("/prog", program);
  run();
  t.not(Mm.codeSpace.peek(mmOf(task)), space, "until the file is written");
  const mm = mmOf(task);
  Task.mm.assign(1 as Held, task, 0);
  mmPut(mm);
});

test.serial(
  "execve that waits for its threads runs the file that it opened, whatever the path leads to by then",
  (t) => {
    const task = bootForExec();
    const group = Task.group.get(task);
    const image = (vaddr: number) =>
      elfFile({ entry: vaddr, segments: [{ vaddr, flags: R | X, content: text("x") }] });
    put("/first", image(0x1_0000));
    put("/second", image(0x2_0000));
    Group.alive.store(group, 2);
    t.is(execve(task, "/first", ["first"], []), BLOCK_KILLABLE);
    finishWait(task);
    t.is(renamePath(-100, "/second", -100, "/first", 0), 0);
    Group.alive.store(group, 1);
    t.is(execve(task, "/first", ["first"], []), 0);
    t.is(pcOf(task), 0x1_0000);
    clearRestart(task);

    settle();
    const files = liveObjects(File);
    Group.alive.store(group, 2);
    t.is(execve(task, "/first", ["first"], []), BLOCK_KILLABLE);
    t.not(Group.flags.load(group) & GROUP_EXEC, 0);
    // The task is killed instead.
    finishWait(task);
    clearRestart(task);
    settle();
    t.is(Group.flags.load(group) & GROUP_EXEC, 0);
    t.is(liveObjects(File), files);
  },
);
