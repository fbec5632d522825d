/**
 * What RCU asks of the JavaScript host that it runs in: Node.js here, and Deno and Bun, which have the same modules. In browsers
 * platform-web.ts stands in for this file.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { getEnvironmentData, isMainThread, threadId as ownId, setEnvironmentData } from "node:worker_threads";

/** Another thread, as the one that started it sees it: a Worker of worker_threads. */
export interface Worker {
  readonly threadId: number;
  once(event: "exit", ended: () => void): unknown;
}
/** This thread's number, 0 or more and below 2^30 - 1, which no other thread of the process ever has. */
export const threadId: number = ownId;

/** Whether this thread may wait in Atomics.wait. */
export const mayBlock = true;

/**
 * Whether plain loads and stores of this machine and engine appear in the order of the program, but for a store and a load behind it, and
 * every atomic store or read-modify-write keeps these two in order as well: x86 (TSO), and V8. See rcu/design.md, "Machines that keep order".
 */
export const keepsOrder = process.arch === "x64" && process.versions.bun === undefined;

/** Whether the environment variable is "1". */
export const setting = (name: string): boolean => process.env[name] === "1";

/** A warning for whoever runs the program: process.emitWarning. */
export const warn = (message: string, type: string): void => process.emitWarning(message, type);

/** Calls `run` when the current turn of the event loop, microtasks included, is over. */
export const afterTurn = (run: () => void): void => void setImmediate(run);

/** Calls `run` in so many milliseconds; keeps no process alive. */
export const inBackground = (run: () => void, ms: number): void => void setTimeout(run, ms).unref();

/** Throws an error where nobody's call is in the way: it becomes an 'uncaughtException' of this thread, once. */
export function throwOutOfBand(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/** A value that threads started from here on inherit, or this thread has inherited; undefined when there is none. */
export const inherited = (name: string): unknown => getEnvironmentData(name);
export const bequeath = (name: string, value: object): void => setEnvironmentData(name, value as never);

/** Calls `gone` with the worker's number when it has ended, however it ended. */
export function onExit(worker: Worker, gone: (id: number) => void): void {
  const id = worker.threadId;
  worker.once("exit", () => gone(id));
}

let workers: ((worker: Worker) => void) | null = null;
let leaving: (() => void) | null = null;

/**
 * Until unwatchThreads(): calls `gone` with the number of each worker that this thread starts from now on, when that has ended, and
 * `leave` when this thread itself, a worker, ends in good order. `owners` is for platforms that must ask.
 */
export function watchThreads(gone: (id: number) => void, leave: () => void, _owners: () => number[]): void {
  workers = (worker) => onExit(worker, gone);
  process.on("worker", workers);
  if (isMainThread) return;
  leaving = leave;
  process.on("exit", leaving);
}
export function unwatchThreads(): void {
  if (workers !== null) process.off("worker", workers);
  if (leaving !== null) process.off("exit", leaving);
}

/**
 * Calls `sign` as soon as others can see whether this thread lives: with a number by which the operating system knows it, and a second
 * one that tells it from a later thread of the same number. 0, 0 where nobody can see that.
 */
export const whenVisible = (sign: (native: number, start: number) => void): void =>
  sign(native.tid, native.start);

/** Whether a thread that signed so is known to have ended. */
export const nativeIsGone = (tid: number, start: number): boolean => tid !== 0 && nativeStart(tid) !== start;

/** This thread as the operating system knows it; 0 where it does not tell. */
const native = ((): { readonly tid: number; readonly start: number } => {
  try {
    const tid = Number(/task\/(\d+)$/.exec(readlinkSync("/proc/thread-self"))?.[1] ?? 0);
    return { tid, start: tid === 0 ? 0 : nativeStart(tid) };
  } catch {
    return { tid: 0, start: 0 };
  }
})();

/** When a thread of this process started, in clock ticks modulo 2^31 (proc(5), stat, field 22); -1 when there is none. */
function nativeStart(tid: number): number {
  try {
    const stat = readFileSync(`/proc/self/task/${tid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) % 0x8000_0000;
  } catch {
    return -1;
  }
}
