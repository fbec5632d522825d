/**
 * The console: where the machine's standard input, output and error lead.
 *
 * Each of the three streams is the terminal that the machine was started on, or a plain stream (a pipe or a file of the
 * host, or a stream of the embedding program). Output goes straight to the host's descriptor on the CPU that
 * writes, or, captured, into a ring that the host thread drains. Input always comes from the host thread:
 * `consoleInput` puts it into the terminal's line discipline or into a ring.
 *
 * Host side: consoleCreate at boot, then consoleInput, consoleEof, consoleResize, consoleDrainOutput from any thread
 * that is attached to the heap and to RAM.
 */
import { alloc, fixed, locked, type Ref, spinlock, struct } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { Ring, ringConsume, ringCreate, ringPeek, ringRead, ringRoom, ringWrite } from "../ipc/ring.ts";
import { notifyHost } from "../machine/state.ts";
import { waitqueue, wakeUp } from "../sched/waitqueue.ts";
import { EAGAIN, EIO } from "../uapi/errno.ts";
import { POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../uapi/poll.ts";
import { writeHost } from "./host-io.ts";
import { ttyInputRoom, ttyReceive } from "./n-tty.ts";
import { setWindowSize, TTY_CONSOLE, ttyCreate, ttyHangup } from "./tty.ts";

/** Bytes of input or of captured output that wait. */
const RING_BYTES = 65536;

/** Where one of the streams leads. */
export const STREAM_PLAIN = 0;
/** The terminal; all streams that say so share it. */
export const STREAM_TTY = 1;
/** Output into a ring, for consoleDrainOutput. */
export const STREAM_CAPTURED = 2;

export const Console = struct("console", {
  /** STREAM_* of standard input, output, error. */
  stdin: fixed(),
  stdout: fixed(),
  stderr: fixed(),
  /** The terminal, or 0. */
  tty: fixed<Ref<"tty"> | 0>(),
  /** Host descriptor that the terminal's output goes to. */
  ttyFd: fixed(),
  input: fixed<Ref<"ring">>(),
  captured: fixed<Ref<"ring">>(),
  capturedError: fixed<Ref<"ring">>(),
  lock: spinlock(),
  /** No input comes any more. */
  eof: locked("lock"),
  readWait: waitqueue(),
  writeWait: waitqueue(),
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
  const ref = alloc(Console);
  const rings = [ringCreate(RING_BYTES), ringCreate(RING_BYTES), ringCreate(RING_BYTES)];
  const onTty = [stdin, stdout, stderr].indexOf(STREAM_TTY);
  const tty = onTty >= 0 ? ttyCreate(TTY_CONSOLE, 0, 0) : 0;
  if (ref === 0 || rings.includes(0) || (onTty >= 0 && tty === 0))
    throw new Error("no memory for the console");
  Console.stdin.init(ref, stdin);
  Console.stdout.init(ref, stdout);
  Console.stderr.init(ref, stderr);
  Console.tty.init(ref, tty);
  // A terminal that is only read from is still written to by its echo.
  Console.ttyFd.init(ref, stdout === STREAM_TTY ? 1 : stderr === STREAM_TTY ? 2 : 0);
  Console.input.init(ref, rings[0] as Ref<"ring">);
  Console.captured.init(ref, rings[1] as Ref<"ring">);
  Console.capturedError.init(ref, rings[2] as Ref<"ring">);
  if (tty !== 0) setWindowSize(tty, options.rows ?? 24, options.columns ?? 80);
  theConsole.init(ref);
  return ref;
}

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

/** Takes captured output of stream 1 or 2, up to target.length bytes; their number. Writers that wait go on. */
export function consoleDrainOutput(console: C, stream: number, target: Uint8Array): number {
  const ring = capturedRing(console, stream);
  Console.lock.lock(console);
  const count = ringRead(ring, target, 0, target.length);
  Console.lock.unlock(console);
  if (count > 0) wakeUp(Console.writeWait.at(console), 0, POLLOUT | POLLWRNORM);
  return count;
}

const capturedRing = (console: C, stream: number): Ref<"ring"> =>
  stream === 2 ? Console.capturedError.get(console) : Console.captured.get(console);

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

/** Writes to stream 1 or 2: the number of bytes (captured: those that fit), or -errno. */
export function putOutput(console: C, stream: number, bytes: Uint8Array, length: number): number {
  if (streamKind(console, stream) !== STREAM_CAPTURED)
    return stream === 0 ? -EIO : writeHost(stream, bytes, length);
  Console.lock.lock(console);
  const count = ringWrite(capturedRing(console, stream), bytes, 0, length);
  Console.lock.unlock(console);
  notifyHost();
  return count === 0 ? -EAGAIN : count;
}

/** How many bytes can be written now without waiting for the host thread. */
export function outputRoom(console: C, stream: number): number {
  return streamKind(console, stream) === STREAM_CAPTURED
    ? ringRoom(capturedRing(console, stream))
    : RING_BYTES;
}

export function streamPoll(console: C, stream: number): number {
  if (stream === 0) {
    if (inputAvailable(console) > 0) return POLLIN | POLLRDNORM;
    return Console.eof.racy(console) !== 0 ? POLLIN | POLLRDNORM | POLLHUP : 0;
  }
  return outputRoom(console, stream) > 0 ? POLLOUT | POLLWRNORM : 0;
}

/** Output of the terminal itself. */
export const putTerminal = (bytes: Uint8Array, length: number): number =>
  writeHost(Console.ttyFd.get(machineConsole()), bytes, length);

export const consoleTty = (): Ref<"tty"> | 0 => Console.tty.get(machineConsole());
