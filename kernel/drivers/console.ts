/**
 * The console: where the machine's standard input, output and error lead.
 *
 * Each of the three streams is the terminal that the machine was started on, or a plain stream (a pipe or a file of the
 * host). Output goes straight to the host's descriptor on the CPU that writes. Input always comes from the host thread:
 * `consoleInput` puts it into the terminal's line discipline or into a ring.
 *
 * Host side: consoleCreate at boot, then consoleInput, consoleEof, consoleResize from any thread that is attached to the
 * heap and to RAM.
 */
import { fixed, locked, type Ref, spinlock, struct, tryAlloc } from "../../rcu/index.ts";
import { keepOpen } from "../fs/hostfs/opener.ts";
import { kernelGlobal } from "../global.ts";
import { Ring, ringConsume, ringCreate, ringPeek, ringRoom, ringWrite } from "../ipc/ring.ts";
import { notifyHost } from "../machine/state.ts";
import { waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { EAGAIN } from "../uapi/errno.ts";
import { POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { openOutput, writeHost } from "./host-io.ts";
import { ttyInputRoom, ttyReceive } from "./n-tty.ts";
import { setWindowSize, TTY_CONSOLE, ttyCreate, ttyHangup } from "./tty.ts";

/** Bytes of input that wait. */
const RING_BYTES = 65536;

/** Where one of the streams leads. */
export const STREAM_PLAIN = 0;
/** The terminal; all streams that say so share it. */
export const STREAM_TTY = 1;

export const Console = struct("console", {
  /** STREAM_* of standard input, output, error. */
  stdin: fixed(),
  stdout: fixed(),
  stderr: fixed(),
  /** The terminal, or 0. */
  tty: fixed<Ref<"tty"> | 0>(),
  /** Host descriptors that output, error and the terminal's output go to (host-io.ts). */
  outFd: fixed(),
  errFd: fixed(),
  ttyFd: fixed(),
  input: fixed<Ref<"ring">>(),
  lock: spinlock(40),
  /** No input comes any more. */
  eof: locked("lock"),
  readWait: waitqueue(),
});
type C = Ref<"console">;

const theConsole = kernelGlobal<C>("console");
/** The machine's console, on any CPU. */
export const machineConsole = (): C => theConsole.get();

export interface ConsoleOptions {
  /** What descriptors 0, 1 and 2 of the first process are: STREAM_*. */
  stdin: number;
  stdout: number;
  stderr: number;
  /** Size of the terminal, when there is one. */
  rows?: number;
  columns?: number;
}

/** Once per machine, at boot; throws when memory is short. */
export function consoleCreate(options: ConsoleOptions): C {
  const { stdin, stdout, stderr } = options;
  const ref = tryAlloc(Console);
  const ring = ringCreate(RING_BYTES);
  const onTty = [stdin, stdout, stderr].indexOf(STREAM_TTY);
  const tty = onTty >= 0 ? ttyCreate(TTY_CONSOLE, 0, 0) : 0;
  if (ref === 0 || ring === 0 || (onTty >= 0 && tty === 0)) throw new Error("no memory for the console");
  Console.stdin.init(ref, stdin);
  Console.stdout.init(ref, stdout);
  Console.stderr.init(ref, stderr);
  Console.tty.init(ref, tty);
  const [outFd, errFd] = [openOwn(1), openOwn(2)];
  Console.outFd.init(ref, outFd);
  Console.errFd.init(ref, errFd);
  // A terminal that is only read from is still written to by its echo.
  Console.ttyFd.init(ref, stdout === STREAM_TTY ? outFd : stderr === STREAM_TTY ? errFd : 0);
  Console.input.init(ref, ring);
  if (tty !== 0) setWindowSize(tty, options.rows ?? 24, options.columns ?? 80);
  theConsole.init(ref);
  return ref;
}

/** The machine closes at its end what it opened. */
function openOwn(fd: number): number {
  const own = openOutput(fd);
  if (own !== fd) keepOpen(own);
  return own;
}

/** Host descriptor of output (1) or error (2). */
export const outputFd = (console: C, stream: number): number =>
  stream === 2 ? Console.errFd.get(console) : Console.outFd.get(console);

/** STREAM_* of descriptor 0, 1 or 2. */
export function streamKind(console: C, stream: number): number {
  if (stream === 0) return Console.stdin.get(console);
  return stream === 1 ? Console.stdout.get(console) : Console.stderr.get(console);
}

/** How many bytes of input the machine can take now. */
export function consoleInputRoom(console: C): number {
  if (Console.stdin.get(console) === STREAM_TTY) return ttyInputRoom(Console.tty.get(console) as Ref<"tty">);
  Console.lock.lock(console);
  const room = ringRoom(Console.input.get(console));
  Console.lock.unlock(console);
  return room;
}

/**
 * Input from the host; the number of bytes taken. When that is less than was given, keep the rest and offer it again
 * later (consoleInputRoom says when it makes sense).
 */
export function consoleInput(console: C, bytes: Uint8Array): number {
  if (Console.stdin.get(console) === STREAM_TTY) {
    const tty = Console.tty.get(console) as Ref<"tty">;
    const count = Math.min(bytes.length, ttyInputRoom(tty));
    const echo = ttyReceive(tty, bytes.subarray(0, count));
    if (echo.length > 0) writeHost(Console.ttyFd.get(console), Uint8Array.from(echo), echo.length);
    return count;
  }
  Console.lock.lock(console);
  const count = ringWrite(Console.input.get(console), bytes, 0, bytes.length);
  Console.lock.unlock(console);
  if (count > 0) wakeUp(Console.readWait.at(console), 1, POLLIN | POLLRDNORM);
  return count;
}

/** The host's input ended: readers see the end of file once they have read the rest. */
export function consoleEof(console: C): void {
  const held = Console.lock.lock(console);
  Console.eof.set(held, console, 1);
  Console.lock.unlock(console);
  wakeUp(Console.readWait.at(console), 0, POLLIN | POLLRDNORM | POLLHUP);
  if (Console.stdin.get(console) === STREAM_TTY) ttyHangup(Console.tty.get(console) as Ref<"tty">);
}

/** The host's terminal has another size: SIGWINCH for the foreground group. */
export function consoleResize(console: C, rows: number, columns: number): void {
  const tty = Console.tty.get(console);
  if (tty !== 0) setWindowSize(tty, rows, columns);
}

// The CPUs' side: what the open files do (stdio.ts).

/** Looks at waiting input without taking it: bytes copied, 0 at the end, -EAGAIN when there is none yet. */
export function takeInput(console: C, target: Uint8Array, length: number): number {
  const held = Console.lock.lock(console);
  const ring = Console.input.get(console);
  const count = ringPeek(ring, 0, target, 0, length);
  if (count > 0) ringConsume(ring, count);
  const eof = Console.eof.get(held, console) !== 0;
  Console.lock.unlock(console);
  // The host may have kept input back for want of room.
  if (count > 0) notifyHost();
  return count > 0 || eof ? count : -EAGAIN;
}

export const inputAvailable = (console: C): number => Ring.used.get(Console.input.get(console));

export function streamPoll(console: C, stream: number): number {
  if (stream === 0) {
    if (inputAvailable(console) > 0) return POLLIN | POLLRDNORM;
    return Console.eof.racy(console) !== 0 ? POLLIN | POLLRDNORM | POLLHUP : 0;
  }
  return POLLOUT | POLLWRNORM;
}

/** Host descriptor of the terminal. */
export const terminalFd = (): number => Console.ttyFd.get(machineConsole());

export const consoleTty = (): Ref<"tty"> | 0 => Console.tty.get(machineConsole());
