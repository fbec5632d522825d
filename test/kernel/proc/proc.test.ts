import test from "ava";
import { allocFd, closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { Inode } from "../../../kernel/fs/inode.ts";
import { nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { fileOpsOf, inodeOpsOf } from "../../../kernel/fs/ops.ts";
import { kernelRead } from "../../../kernel/fs/read-write.ts";
import { writeFile } from "../../../kernel/fs/vfs.ts";
import { Mm } from "../../../kernel/mm/mm.ts";
import { mmap } from "../../../kernel/mm/mmap.ts";
import { procFile } from "../../../kernel/proc/index.ts";
import { setMask } from "../../../kernel/signal/mask.ts";
import { infoUser } from "../../../kernel/signal/pending.ts";
import { sendInfo } from "../../../kernel/signal/send.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { EBADF, ENOENT } from "../../../kernel/uapi/errno.ts";
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
} from "../../../kernel/uapi/fcntl.ts";
import { ISA_STRING } from "../../../kernel/uapi/riscv.ts";
import type { Ref } from "../../../rcu/index.ts";
import { around, boot, call, getWords, newTask, putBytes, read, write } from "../ipc/machine.ts";

const { task, files, memory } = boot();
const pid = Task.pid.get(task);

function open(path: string, flags: number = O_RDONLY): number {
  return around(task, () => {
    const file = vfsOpen(AT_FDCWD, path, flags);
    return file < 0 ? file : allocFd(files, file as Ref<"file">, 0);
  });
}
const close = (fd: number): number => around(task, () => closeFd(files, fd));
/** Whole text of a file. */
function cat(path: string): string {
  const fd = open(path);
  if (fd < 0) return `error ${fd}`;
  let text = "";
  for (;;) {
    const part = read(task, fd, 100);
    if (typeof part === "number") text = `error ${part}`;
    if (part === "" || typeof part === "number") break;
    text += part;
  }
  close(fd);
  return text;
}
function readlink(path: string): string | number {
  const error = pathLookup(AT_FDCWD, path, 0);
  if (error < 0) return error;
  const target = inodeOpsOf(Inode.iops.get(nd.inode)).readlink!(nd.inode);
  return typeof target === "number" ? target : new TextDecoder().decode(target);
}
function ls(path: string): string[] {
  const fd = open(path, O_RDONLY | O_DIRECTORY);
  const file = fget(files, fd) as Ref<"file">;
  const names: string[] = [];
  // Two entries at a time: every position must resume where the last call stopped.
  for (let pos = 0, more = true; more; ) {
    let taken = 0;
    more = false;
    const error = fileOpsOf(File.fops.get(file)).iterate!(file, pos, (name, _ino, _type, next) => {
      if (taken === 2) {
        more = true;
        return false;
      }
      taken++;
      pos = next;
      names.push(typeof name === "string" ? name : new TextDecoder().decode(name));
      return true;
    });
    if (error < 0) throw new Error(`iterate: ${error}`);
  }
  close(fd);
  return names;
}

test.serial("/proc/self is the reading process, and its stat has the 52 fields of proc(5)", (t) => {
  t.is(readlink("/proc/self"), String(pid));
  t.is(readlink("/proc/thread-self"), `${pid}/task/${pid}`);
  const fields = cat("/proc/self/stat").trimEnd().split(" ");
  t.is(fields.length, 52);
  t.deepEqual(fields.slice(0, 6), [String(pid), "(test)", "R", "1", String(pid), String(pid)]);
  t.is(cat(`/proc/${pid}/stat`).split(" ")[0], String(pid));
});

test.serial("status counts the signals that are queued", (t) => {
  const other = newTask("signalled");
  Task.files.init(other, files);
  const fd = around(other, () => {
    setMask(other, 0, -1);
    for (let n = 0; n < 3; n++) sendInfo(other, infoUser(40, 1, 0), true);
    const file = vfsOpen(AT_FDCWD, `/proc/${Task.pid.get(other)}/status`, O_RDONLY);
    return file < 0 ? file : allocFd(files, file as Ref<"file">, 0);
  });
  t.regex(String(read(task, fd, 4096)), /^SigQ:\t3\/\d+$/m);
  close(fd);
});

test.serial("status names the process, its parent, its ids and its sizes", (t) => {
  const status = new Map(
    cat("/proc/self/status")
      .trimEnd()
      .split("\n")
      .map((line) => line.split(":\t") as [string, string]),
  );
  t.is(status.get("Name"), "test");
  t.is(status.get("Pid"), String(pid));
  t.is(status.get("PPid"), "1");
  t.is(status.get("Uid"), "0\t0\t0\t0");
  t.is(status.get("VmSize"), "    1024 kB");
  t.is(status.get("Cpus_allowed_list"), "0");
  t.is(status.get("Threads"), "1");
});

test.serial("comm can be written by its process", (t) => {
  const fd = open("/proc/self/comm", O_RDWR);
  t.is(write(task, fd, "a-name-that-is-too-long\n"), 24);
  close(fd);
  t.is(cat("/proc/self/comm"), "a-name-that-is-\n");
  t.is(cat("/proc/self/stat").split(" ")[1], "(a-name-that-is-)");
});

test.serial("maps shows each mapping with its rights and its file", (t) => {
  writeFile("/tmp/mapped file", "x".repeat(5000));
  const fd = open("/tmp/mapped file");
  const mm = Task.mm.access(task) as Ref<"mm">;
  const at = mmap(mm, 0x40000000, 8192, 5, 0x12, fget(files, fd) as Ref<"file">, 0);
  t.is(at, 0x40000000);
  const lines = cat("/proc/self/maps").trimEnd().split("\n");
  t.is(lines[0], "00100000-00200000 rw-p 00000000 00:00 0 ");
  const ino = Inode.ino.get(File.inode.get(fget(files, fd) as Ref<"file">));
  t.regex(
    lines[1]!,
    new RegExp(`^40000000-40002000 r-xp 00000000 [0-9a-f]{2}:[0-9a-f]{2} ${ino} +/tmp/mapped file$`),
  );
  t.is(lines[1]!.indexOf("/tmp"), 73);
  t.regex(cat("/proc/self/smaps"), /^Size: +8 kB$/m);
  t.is(cat("/proc/self/statm").split(" ")[0], String(256 + 2));
  close(fd);
});

test.serial(
  "fd lists the open files: names, pipes, anonymous ones; following a link opens the same file",
  (t) => {
    writeFile("/tmp/named", "content");
    const named = open("/tmp/named");
    call(task, "pipe2", memory, 0);
    const [r, w] = getWords(memory, 2) as [number, number];
    const event = call(task, "eventfd2", 5, 0);
    const listed = ls("/proc/self/fd").slice(2).map(Number);
    for (const fd of [named, r, w, event]) t.true(listed.includes(fd));
    t.is(readlink(`/proc/self/fd/${named}`), "/tmp/named");
    t.regex(String(readlink(`/proc/self/fd/${r}`)), /^pipe:\[\d+\]$/);
    t.is(readlink(`/proc/self/fd/${w}`), readlink(`/proc/self/fd/${r}`));
    t.is(readlink(`/proc/self/fd/${event}`), "anon_inode:[eventfd]");
    t.is(cat(`/proc/self/fd/${named}`), "content");
    t.regex(cat(`/proc/self/fdinfo/${named}`), /^pos:\t0\nflags:\t0100000?\n|^pos:\t0\nflags:\t00\n/);
    t.regex(cat(`/proc/self/fdinfo/${event}`), /eventfd-count: +5\n/);

    // A pipe has no name: its link opens another end.
    const again = open(`/dev/fd/${w}`, O_WRONLY);
    close(w);
    t.is(write(task, again, "more"), 4);
    t.is(read(task, r), "more");
    close(again);
    t.is(read(task, r), "");
    for (const fd of [named, r, event]) close(fd);
    t.is(readlink(`/proc/self/fd/${named}`), -ENOENT);
    t.is(open(`/proc/self/fd/${named}`), -ENOENT);
  },
);

test.serial("exe, cwd and root are links to the objects themselves", (t) => {
  writeFile("/tmp/program", "an executable");
  t.is(readlink("/proc/self/exe"), -ENOENT);
  const fd = open("/tmp/program");
  const mm = Task.mm.access(task) as Ref<"mm">;
  const file = fget(files, fd) as Ref<"file">;
  File.refcount.add(file, 1);
  Mm.exe.exchange(mm, file);
  close(fd);
  t.is(readlink("/proc/self/exe"), "/tmp/program");
  const exe = open("/proc/self/exe");
  const buffer = new Uint8Array(20);
  t.is(kernelRead(fget(files, exe) as Ref<"file">, buffer, 0), 13);
  close(exe);
  t.is(readlink("/proc/self/cwd"), "/");
  t.is(cat("/proc/self/root/tmp/program"), "an executable");
  const link = open("/proc/self/exe", O_PATH | O_NOFOLLOW);
  t.true(link >= 0);
  close(link);
});

test.serial("cmdline and environ are what the process has in its memory", (t) => {
  const mm = Task.mm.access(task) as Ref<"mm">;
  const text = new TextEncoder().encode("prog\0-v\0A=1\0");
  putBytes(memory, text);
  Mm.argStart.set(mm, memory);
  Mm.argEnd.set(mm, memory + 8);
  Mm.envStart.set(mm, memory + 8);
  Mm.envEnd.set(mm, memory + 12);
  t.is(cat("/proc/self/cmdline"), "prog\0-v\0");
  t.is(cat("/proc/self/environ"), "A=1\0");
});

test.serial(
  "another process: found by pid, with its own numbers; its memory files are empty without memory",
  (t) => {
    const other = newTask("other");
    const otherPid = Task.pid.get(other);
    t.true(ls("/proc").includes(String(otherPid)));
    t.is(cat(`/proc/${otherPid}/comm`), "other\n");
    t.is(cat(`/proc/${otherPid}/maps`), "");
    t.deepEqual(ls(`/proc/${otherPid}/task`), [".", "..", String(otherPid)]);
    t.is(cat(`/proc/${otherPid}/task/${otherPid}/comm`), "other\n");
    t.is(open(`/proc/${otherPid}/task/${pid}/comm`), -ENOENT);
    t.is(open("/proc/31999/stat"), -ENOENT);
  },
);

test.serial("the machine's files: memory, CPUs, mounts, parameters", (t) => {
  const total = Number(/^MemTotal: +(\d+) kB$/m.exec(cat("/proc/meminfo"))![1]);
  t.is(total, 32 * 1024);
  t.true(cat("/proc/cpuinfo").startsWith(`processor\t: 0\nhart\t\t: 0\nisa\t\t: ${ISA_STRING}\n`));
  t.regex(cat("/proc/stat"), /^cpu {2}\d+ 0 0 \d+ .*\ncpu0 \d+ .*\n(.*\n)*ctxt \d+\nbtime \d+\n/);
  const mounts = cat("/proc/mounts").trimEnd().split("\n");
  t.regex(mounts[0]!, /^\S+ \/ tmpfs rw/);
  t.true(mounts.some((line) => / \/proc proc rw 0 0$/.test(line)));
  t.regex(cat("/proc/self/mountinfo"), /^\d+ \d+ 0:\d+ \/ \/proc rw - proc proc rw$/m);
  t.true(cat("/proc/filesystems").includes("nodev\tproc\n"));
  t.is(cat("/proc/sys/kernel/ostype"), "Linux\n");
  t.is(cat("/proc/sys/kernel/pid_max"), "32768\n");
  t.is(cat("/proc/sys/vm/overcommit_memory"), "0\n");
  t.regex(cat("/proc/uptime"), /^\d+\.\d\d \d+\.\d\d\n$/);
  t.regex(cat("/proc/loadavg"), /^[\d.]+ [\d.]+ [\d.]+ \d+\/\d+ \d+\n$/);
  t.is(cat("/proc/self/limits").split("\n").length, 18);
});

test.serial("the host name can be set through /proc/sys", (t) => {
  const fd = open("/proc/sys/kernel/hostname", O_WRONLY);
  t.is(write(task, fd, "renamed\n"), 8);
  close(fd);
  t.is(cat("/proc/sys/kernel/hostname"), "renamed\n");
});

test.serial("a module adds a file; reads go on in the text that they started with", (t) => {
  let version = 1;
  procFile("test/module", () => `version ${version++}\n`);
  const fd = open("/proc/test/module");
  t.is(read(task, fd, 4), "vers");
  t.is(read(task, fd, 100), "ion 1\n");
  t.is(read(task, fd, 100), "");
  close(fd);
  t.is(cat("/proc/test/module"), "version 2\n");
  t.is(open("/proc/test/other"), -ENOENT);
});

test.serial("pidfd_send_signal takes a descriptor of /proc/PID, and of nothing else there", (t) => {
  const other = newTask("signalled");
  const fd = open(`/proc/${Task.pid.get(other)}`, O_RDONLY | O_DIRECTORY);
  Task.blocked.set(other, 0, 1 << 9);
  t.is(call(task, "pidfd_send_signal", fd, 10, 0, 0), 0);
  t.is(Group.pending.get(Task.group.get(other), 0), 1 << 9);
  const below = open(`/proc/${Task.pid.get(other)}/fd`, O_RDONLY | O_DIRECTORY);
  t.is(call(task, "pidfd_send_signal", below, 10, 0, 0), -EBADF);
  close(below);
  close(fd);
});
