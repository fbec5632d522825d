/** The machine's standard streams as open files: descriptors 0, 1 and 2 of its first process, and /dev/console without a terminal. */
import type { Ref } from "../../rcu/index.ts";
import { allocFd } from "../fs/fdtable.ts";
import { allocFile, File, FMODE_READ, FMODE_WRITE, fileGet, fput, newAnonInode } from "../fs/file.ts";
import { Inode, iput } from "../fs/inode.ts";
import { vfsOpen } from "../fs/open.ts";
import { FOPS, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { mustYield } from "../sched/yield.ts";
import { sendSignal } from "../signal/send.ts";
import { EBADF, EFAULT, ENOMEM, EPIPE } from "../uapi/errno.ts";
import { AT_FDCWD, O_RDONLY, O_RDWR, O_WRONLY } from "../uapi/fcntl.ts";
import { SIGPIPE } from "../uapi/signal.ts";
import { S_IFIFO } from "../uapi/stat.ts";
import {
  Console,
  inputAvailable,
  machineConsole,
  outputFd,
  STREAM_TTY,
  streamKind,
  streamPoll,
  takeInput,
} from "./console.ts";
import { writeOrSleep } from "./host-io.ts";

const scratch = new Uint8Array(65536);
/** Which stream the file is: 0, 1 or 2. */
const streamOf = (file: Ref<"file">): number => File.priv.peek(file);

function read(file: Ref<"file">, io: UserIo): number {
  if (streamOf(file) !== 0) return -EBADF;
  const count = takeInput(machineConsole(), scratch, Math.min(io.remaining, scratch.length));
  if (count <= 0) return count;
  return io.copyTo(scratch, 0, count) === count ? count : -EFAULT;
}

function write(file: Ref<"file">, io: UserIo): number {
  const stream = streamOf(file);
  if (stream === 0) return -EBADF;
  let total = 0;
  // The host may let us wait: our own count keeps the file until we are back.
  fileGet(file);
  while (io.remaining > 0) {
    const wanted = Math.min(io.remaining, scratch.length);
    const fetched = io.copyFrom(scratch, 0, wanted);
    const count =
      fetched <= 0 ? -EFAULT : writeOrSleep(file, outputFd(machineConsole(), stream), scratch, fetched);
    if (count > 0) total += count;
    if (count < 0 || count < wanted) {
      if (fetched > 0) io.rewind(fetched - Math.max(count, 0));
      if (count === -EPIPE && total === 0) sendSignal(current(), SIGPIPE);
      if (total === 0) total = count;
      break;
    }
    if (mustYield()) break;
  }
  fput(file);
  return total;
}

registerFileOps(FOPS.CONSOLE, {
  open(inode, file) {
    File.priv.store(file, Inode.priv.get(inode, 0));
    return 0;
  },
  read,
  write,
  poll: (file) => streamPoll(machineConsole(), streamOf(file)),
  waitQueues(file, visit) {
    if (streamOf(file) === 0) visit(Console.readWait.at(machineConsole()));
  },
  available: (file) => (streamOf(file) === 0 ? inputAvailable(machineConsole()) : 0),
});

/** An open file for stream 0, 1 or 2 of the machine, with one count, or -errno. */
export function stdioFile(stream: number): Ref<"file"> | number {
  if (streamKind(machineConsole(), stream) === STREAM_TTY) return vfsOpen(AT_FDCWD, "/dev/console", O_RDWR);
  const inode = newAnonInode(S_IFIFO | 0o600);
  if (inode === 0) return -ENOMEM;
  // For those who open it again through /proc/self/fd or /dev/stdout.
  Inode.fops.init(inode, FOPS.CONSOLE);
  Inode.priv.set(inode, 0, stream);
  const [mode, flags] = stream === 0 ? [FMODE_READ, O_RDONLY] : [FMODE_WRITE, O_WRONLY];
  const file = allocFile(inode, FOPS.CONSOLE, mode, flags);
  if (file < 0) {
    iput(inode);
    return file;
  }
  File.priv.init(file as Ref<"file">, stream);
  return file;
}

/** What stands for a stream in openStdio: the machine's console, /dev/null, or nothing at all. Everything else is a file. */
export const STDIO_CONSOLE = 0;
export const STDIO_NULL = -1;
export const STDIO_CLOSED = -2;
export type Stdio = Ref<"file"> | typeof STDIO_CONSOLE | typeof STDIO_NULL | typeof STDIO_CLOSED;

/**
 * Puts the three streams into an empty descriptor table: 0 or -errno. `take(n)` says what stream n is; of a file it hands
 * over one count.
 */
export function openStdio(
  files: Ref<"files">,
  take: (stream: number) => Stdio = () => STDIO_CONSOLE,
): number {
  for (let stream = 0; stream < 3; stream++) {
    const given = take(stream);
    let file: number = given;
    if (given === STDIO_CLOSED) continue;
    if (given === STDIO_CONSOLE) file = stdioFile(stream);
    else if (given === STDIO_NULL) file = vfsOpen(AT_FDCWD, "/dev/null", stream === 0 ? O_RDONLY : O_WRONLY);
    if (file < 0) return file;
    const fd = allocFd(files, file as Ref<"file">, 0, stream);
    if (fd < 0) return fd;
  }
  return 0;
}

/** open(2) of /dev/console on a machine without a terminal: its input when opened for reading only, else its output. */
export function openPlainConsole(file: Ref<"file">): number {
  File.fops.set(file, FOPS.CONSOLE);
  File.priv.store(file, (File.mode.get(file) & FMODE_WRITE) === 0 ? 0 : 1);
  return 0;
}
