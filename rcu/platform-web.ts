/**
 * What RCU asks of a browser: the same exports as platform.ts, for windows and dedicated workers of a page that is cross-origin
 * isolated (SharedArrayBuffer exists nowhere else).
 *
 * A worker that is terminated says nothing, and nobody is told. But its Web Locks are given up by the browser: each thread holds one
 * that carries its number, and a thread whose lock is held no more has ended (https://w3c.github.io/web-locks/, "termination of locks").
 */

import { RcuUsageError } from "./error.ts";

/** Another thread, as the one that started it sees it. */
export interface Worker {
  postMessage(message: unknown): void;
  terminate(): void;
}

/** The parts of the browser's globals that are used here; TypeScript knows them only with the DOM. */
interface Browser {
  readonly document?: unknown;
  readonly console: { warn(message: string): void };
  readonly navigator: {
    readonly locks?: {
      request(name: string, held: () => Promise<never>): Promise<never>;
      query(): Promise<{ held?: readonly { name?: string }[] }>;
    };
  };
  reportError(error: unknown): void;
  setTimeout(run: () => void, ms: number): number;
  setInterval(run: () => void, ms: number): number;
  clearInterval(timer: number): void;
}
const browser = globalThis as unknown as Browser;

/** This thread's number: a random one of 29 bits, since a browser gives none. */
export const threadId: number = crypto.getRandomValues(new Uint32Array(1))[0]! >>> 3;

/** Windows may not wait: they spin for a lock, and wait for grace periods asynchronously. */
export const mayBlock = browser.document === undefined;

/** A page is not told which machine it runs on. */
export const keepsOrder = false;

/** Whether the global variable of that name is "1" when this module is loaded. */
export const setting = (name: string): boolean =>
  (globalThis as unknown as Record<string, unknown>)[name] === "1";

/** A warning for whoever runs the program, in the console. */
export const warn = (message: string, type: string): void => browser.console.warn(`${type}: ${message}`);

/** Calls `run` when the current task, microtasks included, is over. */
export const afterTurn = (run: () => void): void => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(null);
};

/** Calls `run` in so many milliseconds. */
export const inBackground = (run: () => void, ms: number): void => void browser.setTimeout(run, ms);

/** Reports an error that is nobody's result: an 'error' event of this thread, once. */
export const throwOutOfBand = (error: unknown): void => browser.reportError(error);

/** Nothing is inherited: a worker gets a domain's handle in a message, and asks for it here in vain. */
export function inherited(_name: string): unknown {
  if (!mayBlock) return undefined;
  throw new RcuUsageError(
    "ERR_RCU_GLOBAL",
    "a worker of a browser inherits nothing: send it the domain's handle(), and attach to that",
  );
}
export const bequeath = (_name: string, _value: object): void => {};

/** Nobody needs to be told of workers: their locks tell (watchThreads). */
export const onExit = (_worker: Worker, _gone: (id: number) => void): void => {};

const lockName = (id: number): string => `sternix-rcu thread ${id}`;
/** How often threads look for those that have ended, in milliseconds. */
const LOOK_MS = 500;
let looking = 0;

/** Until unwatchThreads(): calls `gone` with the number of each thread among `owners()`, visible ones, that has ended. */
export function watchThreads(gone: (id: number) => void, _leave: () => void, owners: () => number[]): void {
  looking = browser.setInterval(() => void look(gone, owners), LOOK_MS);
}
export const unwatchThreads = (): void => browser.clearInterval(looking);

async function look(gone: (id: number) => void, owners: () => number[]): Promise<void> {
  const ids = owners(); // Each of them had its lock by now.
  const { held = [] } = await browser.navigator.locks!.query();
  const names = new Set(held.map(({ name }) => name));
  for (const id of ids) if (!names.has(lockName(id))) gone(id);
}

let visible = false;
/**
 * Takes this thread's lock when the module is loaded, and keeps it for as long as the thread lives. It is granted while the thread is in its
 * event loop: one that attaches and then never returns there, not once, is not seen to end.
 */
const becoming = new Promise<void>((resolve) => {
  void browser.navigator.locks?.request(lockName(threadId), () => {
    visible = true;
    resolve();
    return new Promise(() => {});
  });
});

/** Calls `sign` as soon as others can see whether this thread lives. */
export function whenVisible(sign: (native: number, start: number) => void): void {
  if (visible) sign(1, 0);
  else void becoming.then(() => sign(1, 0));
}

/** That takes a moment here: see watchThreads. */
export const nativeIsGone = (_tid: number, _start: number): boolean => false;
