/**
 * Programs that the host starts. The host fills a request and makes a task; everything that needs to be the task (open
 * files, working directory, loading the program) happens on its first run, on a CPU, as in Linux's kernel_init.
 */
import {
  atomic,
  fixed,
  free,
  freeString,
  type Ptr,
  type Ref,
  stringText,
  struct,
  tryAlloc,
  tryAllocString,
  words,
} from "../../rcu/index.ts";
import { consoleTty } from "../drivers/console.ts";
import { openStdio, STDIO_CONSOLE, type Stdio } from "../drivers/stdio.ts";
import { takeControllingTty } from "../drivers/tty-file.ts";
import { execReason, setExecReason } from "../exec/binfmt.ts";
import { execProgram, execve } from "../exec/exec.ts";
import { argStrings } from "../exec/strings.ts";
import { filesCreate } from "../fs/fdtable.ts";
import { fput } from "../fs/file.ts";
import { fsCreate, setCwd } from "../fs/fsinfo.ts";
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { wakeNewTask } from "../sched/wake.ts";
import { hooks } from "../subsystem/hooks.ts";
import { newCred } from "../task/cred.ts";
import { discardTask, newProcess, publishTask } from "../task/fork.ts";
import { initGroup } from "../task/pid.ts";
import { startAgain } from "../task/shortage.ts";
import { Group, KIND_PROGRAM, KIND_RISCV64, Task, WORK_SPAWN } from "../task/task.ts";
import { EAGAIN, ENOENT, ENOMEM } from "../uapi/errno.ts";
import { AT_FDCWD } from "../uapi/fcntl.ts";
import { notifyHost } from "./state.ts";

/** Spawn.state. */
export const SPAWN_STARTING = 0;
export const SPAWN_RUNNING = 1;
export const SPAWN_EXITED = 2;

export const Spawn = struct("spawn", {
  // Constant. Lists are one string, elements separated by NUL.
  path: fixed<Ref<"string">>(),
  argv: fixed<Ref<"string">>(),
  env: fixed<Ref<"string">>(),
  cwd: fixed<Ref<"string">>(),
  argc: fixed(),
  envc: fixed(),
  tty: fixed(),
  // Taken by the task on its first run, or by freeRequest.
  /** Standard streams: files with one count each, or what drivers/stdio.ts has for others. */
  stdio: words(3),
  // Written on the task's CPU, read by the host.
  state: atomic(),
  /** -errno of loading the program, or 0. */
  error: atomic(),
  /** What more there is to say about `error`: Ref<"string"> or 0. */
  reason: atomic<Ptr<"string">>(),
  /** The CPU that died while it ran the process, plus 1; 0: none did. */
  lostCpu: atomic(),
  /** Wait status, once EXITED. */
  status: atomic(),
});

export interface SpawnRequest {
  /** Guest path of an ELF or script; or, with `program`, host path of a TypeScript module. */
  readonly path: string;
  readonly program?: boolean;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Whether the console's terminal becomes its controlling one. Default: true. */
  readonly tty?: boolean;
  /** Standard input, output and error. The request takes over one count of each file. Default: the console. */
  readonly stdio?: readonly Stdio[];
}

/** Host side: makes the process and starts it. Its pid and the request, which the host frees; or -errno. */
export function startProcess(request: SpawnRequest): { pid: number; spawn: Ref<"spawn"> } | number {
  const spawn = newRequest(request);
  if (spawn === 0) return -ENOMEM;
  const cred = newCred(request.uid ?? 0, request.gid ?? 0);
  const task = cred === 0 ? 0 : newProcess(request.program === true ? KIND_PROGRAM : KIND_RISCV64, cred);
  if (task === 0) {
    freeRequest(spawn);
    return -ENOMEM;
  }
  Task.work.init(task, WORK_SPAWN);
  Group.spawn.init(Task.group.get(task), spawn);
  const pid = publishTask(task, initGroup(), 0, 0);
  if (pid < 0) {
    discardTask(task, true);
    freeRequest(spawn);
    return -EAGAIN;
  }
  wakeNewTask(task);
  return { pid, spawn };
}

function newRequest(request: SpawnRequest): Ref<"spawn"> | 0 {
  const spawn = tryAlloc(Spawn);
  if (spawn === 0) return 0;
  const strings = [request.path, request.argv.join("\0"), request.env.join("\0"), request.cwd ?? "/"];
  const refs = strings.map((text) => tryAllocString(text));
  for (const [n, field] of [Spawn.path, Spawn.argv, Spawn.env, Spawn.cwd].entries())
    field.init(spawn, refs[n] as Ref<"string">);
  Spawn.argc.init(spawn, request.argv.length);
  Spawn.envc.init(spawn, request.env.length);
  Spawn.tty.init(spawn, request.tty === false ? 0 : 1);
  for (const [n, stdio] of (request.stdio ?? []).entries()) Spawn.stdio.set(spawn, n, stdio);
  if (!refs.includes(0)) return spawn;
  freeRequest(spawn);
  return 0;
}

export function freeRequest(spawn: Ref<"spawn">): void {
  for (const field of [Spawn.path, Spawn.argv, Spawn.env, Spawn.cwd]) {
    const string = field.get(spawn) as Ptr<"string">;
    if (string !== 0) freeString(string);
  }
  const reason = Spawn.reason.load(spawn);
  if (reason !== 0) freeString(reason);
  for (let stream = 0; stream < 3; stream++) {
    const file = takeStdio(spawn, stream);
    if (file > 0) fput(file as Ref<"file">);
  }
  free(Spawn, spawn);
}

function takeStdio(spawn: Ref<"spawn">, stream: number): Stdio {
  const stdio = Spawn.stdio.get(spawn, stream) as Stdio;
  Spawn.stdio.set(spawn, stream, STDIO_CONSOLE);
  return stdio;
}

const list = (string: Ref<"string">, count: number): string[] =>
  count === 0 ? [] : stringText(string).split("\0");

/** Exit statuses of a shell for programs that cannot be run (POSIX: command not found, cannot be executed). */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/**
 * CPU side, first run of the task: 0; SPAWN_AGAIN when memory was short and is to come back; or negative when it is to exit (Task.exitCode
 * is set).
 */
export function startSpawned(task: Ref<"task">): number {
  const spawn = Group.spawn.load(Task.group.get(task)) as Ref<"spawn">;
  setExecReason("");
  const first = Task.fs.access(task) === 0;
  if (first) hooks.taskCreate?.(task, 0);
  let error = first ? prepare(task, spawn) : 0;
  if (error === 0) {
    error = load(task, spawn);
    if (error === -ENOMEM && startAgain(task)) return SPAWN_AGAIN;
    Task.shortSince.set(task, 0);
  }
  Spawn.error.store(spawn, error);
  if (error < 0 && execReason !== "") Spawn.reason.store(spawn, tryAllocString(execReason));
  Spawn.state.store(spawn, SPAWN_RUNNING);
  if (error < 0) Task.exitCode.set(task, (error === -ENOENT ? NOT_FOUND : NOT_EXECUTABLE) << 8);
  return error;
}

/** Memory was short: startSpawned is to be called again. */
export const SPAWN_AGAIN = 1;

/** Its files, terminal and working directory: once. 0 or -errno. */
function prepare(task: Ref<"task">, spawn: Ref<"spawn">): number {
  const files = filesCreate();
  if (files === 0) return -ENOMEM;
  Task.files.init(task, files);
  const fs = fsCreate();
  if (fs === 0) return -ENOMEM;
  Task.fs.init(task, fs);
  let error = openStdio(files, (stream) => takeStdio(spawn, stream));
  if (error < 0) return error;
  const tty = consoleTty();
  if (tty !== 0 && Spawn.tty.get(spawn) !== 0) takeControllingTty(Task.group.get(task), tty);
  error = pathLookup(AT_FDCWD, stringText(Spawn.cwd.get(spawn)), LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (error < 0) return error;
  return setCwd(fs, nd.mount, nd.dentry);
}

/** Its program: 0 or -errno. */
function load(task: Ref<"task">, spawn: Ref<"spawn">): number {
  const path = stringText(Spawn.path.get(spawn));
  const argv = list(Spawn.argv.get(spawn), Spawn.argc.get(spawn));
  const env = list(Spawn.env.get(spawn), Spawn.envc.get(spawn));
  const result =
    Task.kind.get(task) === KIND_PROGRAM
      ? execProgram(task, { path, entry: null, argv, env })
      : execve(task, path, argStrings(argv), argStrings(env));
  return result < 0 && result > -4096 ? result : 0;
}

/** A CPU died under the process: its end will not be its own doing. */
export function spawnLost(task: Ref<"task">, cpu: number): void {
  const spawn = Group.spawn.load(Task.group.get(task));
  if (spawn !== 0) Spawn.lostCpu.store(spawn, cpu + 1);
}

/** The process is gone: tells the host. */
export function spawnExited(spawn: Ref<"spawn">, status: number): void {
  Spawn.status.store(spawn, status);
  Spawn.state.store(spawn, SPAWN_EXITED);
  notifyHost();
}
