/**
 * Programs written in TypeScript: a module whose default export is `program(function* (sys, argv, env) { ... })`.
 *
 *   import { program } from "sternix";
 *   export default program(function* (sys, argv) {
 *     const [from, to] = yield* sys.pipe();
 *     yield* sys.fork(function* (child) {
 *       yield* child.write(to, "hello\n");
 *       return 0;
 *     });
 *     ...
 *     return 0;           // the exit status
 *   });
 *
 * Such a program is a task like any other: it has a pid, files, memory and signals of its own, and its system calls go
 * through the same door as a riscv64 guest's. `yield*` is where it may block, be preempted or receive a signal.
 */
import type { Sys } from "./sys.ts";

/** A system call on its way to the kernel: number and up to six arguments. Programs make them with `Sys` only. */
export interface Call {
  nr: number;
  readonly args: number[];
}

/** What runs as a task: yields calls, is resumed with their results. */
export type Steps<T> = Generator<Call, T, number>;

/** Exit status, or nothing for 0. */
export type Main = (
  sys: Sys,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
) => Steps<number | undefined> | Steps<void>;

/** Further main functions, by name: where `sys.forkOn` starts tasks on other CPUs. */
export type Entries = Readonly<Record<string, Main>>;

/** Shared by every copy of this module: the worker's bundle and the program's own import need not be one. */
const PROGRAM = Symbol.for("sternix.program");

export interface Program {
  readonly [PROGRAM]: { readonly main: Main; readonly entries: Entries };
}

export function program(main: Main, entries: Entries = {}): Program {
  return { [PROGRAM]: { main, entries } };
}

/** What a module's default export runs; undefined when that is no program. */
export function programOf(exported: unknown): Program[typeof PROGRAM] | undefined {
  if (typeof exported !== "object" || exported === null) return undefined;
  return (exported as Partial<Program>)[PROGRAM];
}
