import test from "ava";
import {
  consoleEof,
  consoleInput,
  consoleInputRoom,
  machineConsole,
} from "../../../kernel/drivers/console.ts";
import { ttyReceive, ttyTake } from "../../../kernel/drivers/n-tty.ts";
import { openStdio } from "../../../kernel/drivers/stdio.ts";
import {
  loadTermios,
  setTermios,
  setWindowSize,
  TTY_CONSOLE,
  Tty,
  ttyCreate,
  ttyHangup,
} from "../../../kernel/drivers/tty.ts";
import { allocFd, closeFd, fget } from "../../../kernel/fs/fdtable.ts";
import { File } from "../../../kernel/fs/file.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { fileOpsOf } from "../../../kernel/fs/ops.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { BLOCK } from "../../../kernel/sched/block.ts";
import { Group, Task } from "../../../kernel/task/task.ts";
import { EAGAIN, EBADF, EIO, ENOENT, ENOTTY } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_NOCTTY, O_NONBLOCK, O_RDWR, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import {
  TCFLSH,
  TCGETS,
  TCSETS,
  TIOCGPGRP,
  TIOCGPKT,
  TIOCGPTN,
  TIOCGSID,
  TIOCGWINSZ,
  TIOCPKT,
  TIOCSCTTY,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "../../../kernel/uapi/ioctl.ts";
import { POLLPRI } from "../../../kernel/uapi/poll.ts";
import { SIGINT, SIGTSTP, SIGWINCH } from "../../../kernel/uapi/signal.ts";
import { ECHO, ICANON, IUTF8, TERMIOS } from "../../../kernel/uapi/termios.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { around, boot, getWords, newTask, putWords, read, settle, woken, write } from "./machine.ts";

const { task, files, memory } = boot();
const live = liveObjects(Tty);
const encoder = new TextEncoder();

/** Terminals without a driver, which the tests below make and keep. */
let made = 0;
function terminal(): Ref<"tty"> {
  made++;
  return ttyCreate(TTY_CONSOLE, 0, 0) as Ref<"tty">;
}
/** Types text; what is echoed. */
const type = (tty: Ref<"tty">, text: string): string =>
  new TextDecoder().decode(Uint8Array.from(ttyReceive(tty, encoder.encode(text))));
function take(tty: Ref<"tty">, length = 4096): string | number {
  const buffer = new Uint8Array(length);
  const count = ttyTake(tty, buffer, length);
  return count < 0 ? count : new TextDecoder().decode(buffer.subarray(0, count));
}
function change(tty: Ref<"tty">, offset: number, clear: number, set: number): void {
  const bytes = loadTermios(tty);
  const view = new DataView(bytes.buffer);
  view.setInt32(offset, (view.getInt32(offset, true) & ~clear) | set, true);
  setTermios(tty, bytes, false);
}

test.serial("canonical mode gives whole lines, one for each read", (t) => {
  const tty = terminal();
  t.is(type(tty, "one"), "one");
  t.is(take(tty), -1);
  t.is(type(tty, "\rtwo\n"), "\ntwo\n");
  t.is(take(tty, 2), "on");
  t.is(take(tty), "e\n");
  t.is(take(tty), "two\n");
  t.is(take(tty), -1);
});

test.serial("erase, word erase and kill edit the line that is being typed", (t) => {
  const tty = terminal();
  t.is(type(tty, "ab\x7f"), "ab\b \b");
  type(tty, "c word\x17next\n");
  t.is(take(tty), "ac next\n");
  type(tty, "gone\x15kept\x7f\x7f\x7f\x7f\x7f\x7f!\n");
  t.is(take(tty), "!\n");
  change(tty, TERMIOS.IFLAG, 0, IUTF8);
  type(tty, "aä\x7f\x16\x03\n");
  t.is(take(tty), "a\x03\n");
});

test.serial("^D ends a line without being read; on an empty line it is the end of file", (t) => {
  const tty = terminal();
  type(tty, "part\x04");
  t.is(take(tty), "part");
  type(tty, "\x04");
  t.is(take(tty), "");
  t.is(take(tty), -1);
});

test.serial("raw mode gives bytes as they come, also those of an unfinished line", (t) => {
  const tty = terminal();
  type(tty, "abc");
  change(tty, TERMIOS.LFLAG, ICANON | ECHO, 0);
  t.is(take(tty), "abc");
  t.is(type(tty, "x\x04"), "");
  t.is(take(tty), "x\x04");
});

test.serial("a line longer than the buffer loses its middle, never its end", (t) => {
  const tty = terminal();
  change(tty, TERMIOS.LFLAG, ECHO, 0);
  type(tty, "y".repeat(5000));
  type(tty, "\n");
  t.is(take(tty, 9000), `${"y".repeat(4095)}\n`);
});

test.serial("^C and ^Z signal the foreground group and drop what was typed", (t) => {
  const shell = newTask("shell");
  const group = Task.group.get(shell);
  const tty = terminal();
  Tty.pgrp.store(tty, Group.pgrp.load(group));
  const bit = (signo: number): number => 1 << (signo - 1);
  t.is(type(tty, "abc\x03"), "abc^C");
  t.is(Group.pending.get(group, 0), bit(SIGINT));
  type(tty, "\x1a");
  t.is(Group.pending.get(group, 0), bit(SIGINT) | bit(SIGTSTP));
  t.is(take(tty), -1);
  Task.blocked.set(shell, 0, bit(SIGWINCH));
  setWindowSize(tty, 50, 100);
  t.is(Group.pending.get(group, 0) & bit(SIGWINCH), bit(SIGWINCH));
  ttyHangup(tty);
  t.is(take(tty), "");
});

test.serial("standard streams: input waits for the host, and each goes one way", (t) => {
  const console = machineConsole();
  t.is(
    around(task, () => openStdio(files)),
    0,
  );
  t.is(read(task, 0), BLOCK);
  t.is(consoleInput(console, encoder.encode("typed")), 5);
  t.true(woken(task));
  t.is(read(task, 0), "typed");
  t.is(write(task, 0, "x"), -EBADF);
  t.is(read(task, 1), -EBADF);

  const room = consoleInputRoom(console);
  t.is(consoleInput(console, new Uint8Array(room + 10)), room);
  t.is(consoleInputRoom(console), 0);
  t.is((read(task, 0) as string).length, room);
  consoleEof(console);
  t.is(read(task, 0), "");
});

const PTMX = "/dev/ptmx";
function open(as: Ref<"task">, path: string, flags = O_RDWR): number {
  return around(as, () => {
    const file = vfsOpen(AT_FDCWD, path, flags);
    return file < 0 ? file : allocFd(files, file as Ref<"file">, 0);
  });
}
function ioctl(as: Ref<"task">, fd: number, cmd: number, arg: number): number {
  const file = fget(files, fd) as Ref<"file">;
  return around(as, () => fileOpsOf(File.fops.get(file)).ioctl!(file, cmd, arg));
}

test.serial("a pseudo-terminal: what one side writes the other reads, through the line discipline", (t) => {
  const other = newTask("other");
  Task.files.init(other, files);
  const master = open(task, PTMX);
  t.is(ioctl(task, master, TIOCGPTN, memory), 0);
  t.deepEqual(getWords(memory, 1), [0]);
  t.is(open(task, "/dev/pts/0"), -EIO);
  putWords(memory, 0);
  t.is(ioctl(task, master, TIOCSPTLCK, memory), 0);
  t.is(read(task, master), BLOCK);
  const slave = open(other, "/dev/pts/0", O_RDWR | O_NOCTTY);
  t.is(write(other, slave, "prompt\n"), 7);
  t.true(woken(task));
  t.is(read(task, master), "prompt\r\n");
  t.is(read(other, slave), BLOCK);
  t.is(write(task, master, "ls\r"), 3);
  t.true(woken(other));
  t.is(read(other, slave), "ls\n");
  t.is(read(task, master), "ls\r\n");

  t.is(ioctl(other, slave, TIOCGPGRP, memory), -ENOTTY);
  t.is(ioctl(other, slave, TIOCSCTTY, 0), 0);
  t.is(ioctl(other, slave, TIOCGPGRP, memory), 0);
  t.deepEqual(getWords(memory, 1), [Task.pid.get(other)]);
  putWords(memory, 24 | (80 << 16), 0);
  t.is(ioctl(task, master, TIOCSWINSZ, memory), 0);
  putWords(memory, 0, 0);
  t.is(ioctl(other, slave, TIOCGWINSZ, memory), 0);
  t.deepEqual(getWords(memory, 2), [24 | (80 << 16), 0]);

  around(other, () => closeFd(files, slave));
  t.is(read(task, master), -EIO);
  const again = open(other, "/dev/pts/0", O_RDWR | O_NOCTTY);
  around(task, () => closeFd(files, master));
  t.is(read(other, again), "");
  t.is(write(other, again, "x"), -EIO);
  t.is(Group.tty.load(Task.group.get(other)), 0);
  around(other, () => closeFd(files, again));
  settle(task);
  t.is(open(task, "/dev/pts/0"), -ENOENT);
  t.is(liveObjects(Tty), live + made);
});

test.serial(
  "a terminal that a session's leader opens controls it, unless one of them has another or O_NOCTTY says no",
  (t) => {
    const [leader, second, member] = [newTask("leader"), newTask("second"), newTask("member")];
    Group.session.store(Task.group.get(member), Task.pid.get(leader));
    const master = open(task, PTMX);
    putWords(memory, 0);
    t.is(ioctl(task, master, TIOCSPTLCK, memory), 0);
    const controlled = (as: Ref<"task">, flags: number): boolean => {
      const fd = open(as, "/dev/pts/0", flags);
      const controls = ioctl(as, fd, TIOCGSID, memory) === 0 && getWords(memory, 1)[0] === Task.pid.get(as);
      around(as, () => closeFd(files, fd));
      return controls;
    };
    const keep = open(task, "/dev/pts/0", O_RDWR | O_NOCTTY);
    t.false(controlled(member, O_RDWR), "no leader");
    t.false(controlled(leader, O_RDWR | O_NOCTTY));
    t.false(controlled(leader, O_WRONLY));
    t.true(controlled(leader, O_RDWR));
    t.false(controlled(second, O_RDWR), "it is another session's");
    t.false(controlled(member, O_RDWR), "a member has it only from its parent");
    around(task, () => closeFd(files, keep));
    around(task, () => closeFd(files, master));
    t.is(Group.tty.load(Task.group.get(leader)), 0);
    settle(task);
  },
);

test.serial(
  "packet mode: a byte before what the slave printed, and one alone for what happened to the terminal",
  (t) => {
    const other = newTask("packet");
    Task.files.init(other, files);
    const master = open(task, PTMX, O_RDWR | O_NONBLOCK);
    ioctl(task, master, TIOCGPTN, memory);
    const [index] = getWords(memory, 1);
    putWords(memory, 0);
    ioctl(task, master, TIOCSPTLCK, memory);
    const slave = open(other, `/dev/pts/${index}`, O_RDWR | O_NOCTTY);
    putWords(memory, 1);
    t.is(ioctl(task, master, TIOCPKT, memory), 0);
    t.is(ioctl(task, master, TIOCGPKT, memory), 0);
    t.deepEqual(getWords(memory, 1), [1]);
    t.is(read(task, master), -EAGAIN);
    write(other, slave, "out");
    t.is(read(task, master), "\0out");
    t.is(read(task, master), -EAGAIN);
    t.is(ioctl(other, slave, TCFLSH, 2), 0);
    t.is(filePoll(fget(files, master) as Ref<"file">) & POLLPRI, POLLPRI);
    t.is(read(task, master), "\x03");
    write(task, master, "\x13");
    t.is(read(task, master), "\x04");
    write(task, master, "\x13\x11");
    t.is(read(task, master), "\x08");
    t.is(ioctl(other, slave, TCGETS, memory), 0);
    putWords(memory, getWords(memory, 1)[0]! & ~0o2000);
    t.is(ioctl(other, slave, TCSETS, memory), 0);
    t.is(read(task, master), "\x10");
    putWords(memory, 0);
    t.is(ioctl(task, master, TIOCPKT, memory), 0);
    write(other, slave, "plain");
    t.is(read(task, master), "plain");
    for (const fd of [master, slave]) around(task, () => closeFd(files, fd));
  },
);
