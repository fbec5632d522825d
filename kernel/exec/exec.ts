/**
 * execve(2). The new address space is made completely while the old program can still get an error; then the other threads
 * go, and from there on there is no way back (Linux's point of no return).
 */
import type { Held, Ref } from "../../rcu/index.ts";
import { allowWriteAccess, denyWriteAccess } from "../fs/attr.ts";
import { pathOf } from "../fs/dpath.ts";
import { copyFiles, unshareFiles } from "../fs/fd-copy.ts";
import { filesShared } from "../fs/fdtable.ts";
import { File, fileGet, fput } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { Mount } from "../fs/mount.ts";
import { currentFs } from "../fs/namei.ts";
import { kernelRead } from "../fs/read-write.ts";
import { DEFAULT_STACK_LIMIT, Mm, mmCreate, mmPut } from "../mm/mm.ts";
import { activateMm } from "../mm/tlb.ts";
import "../mm/vmfile.ts";
import { BLOCK_KILLABLE, YIELD } from "../sched/block.ts";
import { defineKept, KEPT_EXEC, keepForRestart, keptForRestart, takeKept } from "../sched/restart.ts";
import { sendSignal } from "../signal/send.ts";
import { execCapabilities } from "../task/capability.ts";
import { commitCred, credOf } from "../task/cred.ts";
import { beginNewProgram, deThread, leaveOldProgram } from "../task/exec.ts";
import { putProgram, setProgram } from "../task/program.ts";
import { resetRegisters } from "../task/registers.ts";
import { rlimit } from "../task/rlimit.ts";
import { waitForMemory } from "../task/shortage.ts";
import { Cred, GROUP_EXEC, Group, KIND_RISCV64, TASK_NO_NEW_PRIVS, Task } from "../task/task.ts";
import { closeOnExec } from "../task/tidy.ts";
import { E2BIG, ELOOP, ENOENT, ENOMEM } from "../uapi/errno.ts";
import { MS_NOSUID } from "../uapi/mount.ts";
import { RLIMIT_AS, RLIMIT_STACK } from "../uapi/resource.ts";
import { SIGKILL } from "../uapi/signal.ts";
import { BINPRM_BUF_SIZE, type Bprm, loadBinary, setExecReason } from "./binfmt.ts";
import { openExec } from "./open.ts";
import { setupStack } from "./stack.ts";
import { type ArgStrings, argStrings, checkArgs } from "./strings.ts";
import "./script.ts";
import "./load-elf.ts";

/** A task owns its own pointers: no lock. */
const OWNER = 1 as Held;
/** Scripts that may lead to scripts. */
const MAX_DEPTH = 5;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;
const AT_FDCWD = -100;
const MAX_STACK_ROOM = 1 << 30;

/**
 * Replaces the current task's program. `path` is resolved from `dirfd`; `flags` are those of execveat(2). 0 when
 * the registers are those of the new program, -errno, or a BLOCK value while other threads still die (call again).
 * execReason (binfmt.ts) says more about -ENOEXEC.
 */
export function execve(
  task: Ref<"task">,
  path: string | Uint8Array,
  argv: ArgStrings,
  envp: ArgStrings,
  dirfd = AT_FDCWD,
  flags = 0,
): number {
  setExecReason("");
  // Runs again after its threads died: as the leader that it then is, /proc/self leads to itself and not to a zombie.
  const waited = keptForRestart(task, KEPT_EXEC) !== 0;
  const others = waited ? deThread(task) : 0;
  if (others !== 0) return others;
  // The program is the one that was checked before the threads were told to die, whatever the path leads to by now.
  const file = waited ? takeKept(task) : openExec(dirfd, bytesOf(path), flags);
  if (file < 0) return file;
  fileGet(file as Ref<"file">);
  const result = execFile(task, file as Ref<"file">, bytesOf(path), argv, envp, dirfd);
  if (result === BLOCK_KILLABLE || result === YIELD) {
    keepForRestart(KEPT_EXEC, file);
    return result;
  }
  if (waited && result === -ENOMEM && waitForMemory(task) !== 0) {
    keepForRestart(KEPT_EXEC, file);
    return BLOCK_KILLABLE;
  }
  fput(file as Ref<"file">);
  // Without its threads the old program cannot go on.
  if (waited && result < 0) sendSignal(task, SIGKILL);
  return result;
}

defineKept(KEPT_EXEC, (task, file) => {
  Group.flags.and(Task.group.get(task), ~GROUP_EXEC);
  fput(file as Ref<"file">);
});

/** Takes over one count of the file. */
function execFile(
  task: Ref<"task">,
  file: Ref<"file">,
  name: Uint8Array,
  argv: ArgStrings,
  envp: ArgStrings,
  dirfd: number,
): number {
  const mm = newMm(task, argv, envp);
  if (mm < 0) {
    fput(file);
    return mm;
  }
  const bprm: Bprm = {
    task,
    file,
    path: execName(dirfd, name, file),
    header: new Uint8Array(0),
    // A program without arguments still gets its name (as Linux does since 5.18).
    argv: argv.count === 0 ? argStrings([""]) : argv,
    envp,
    depth: 0,
    mm: mm as Ref<"mm">,
    entry: 0,
    sp: 0,
    interpreter: null,
  };
  // While it runs nobody may write to it (ETXTBSY); mmPut allows it again.
  const named = File.inode.get(bprm.file);
  let result = denyWriteAccess(named);
  if (result === 0) {
    result = load(bprm);
    const inode = File.inode.get(bprm.file);
    if (inode !== named) {
      // A script: it is its interpreter that runs.
      allowWriteAccess(named);
      const denied = denyWriteAccess(inode);
      if (denied < 0) {
        fput(bprm.file);
        mmPut(bprm.mm);
        return result < 0 ? result : denied;
      }
    }
    if (result === 0) result = deThread(task);
    if (result === 0) result = prepareFiles(task);
    if (result !== 0) allowWriteAccess(inode);
  }
  if (result !== 0) {
    fput(bprm.file);
    mmPut(bprm.mm);
    return result;
  }
  Mm.exe.init(bprm.mm, bprm.file); // The file's count goes with it.
  begin(task, bprm.mm, name, bprm.entry, bprm.sp);
  // No error can be returned any more, and no program may have more rights than it should.
  if (setUserIds(bprm) < 0) sendSignal(task, SIGKILL);
  Task.kind.set(task, KIND_RISCV64);
  putProgram(task);
  return 0;
}

/** Where the engine of TypeScript programs finds a task that has not run yet. */
const PROGRAM_START = 0x1000;

/** How a TypeScript program starts. The engine of such programs gets it as it is here, from the kernel's heap. */
export interface ProgramRequest {
  /** Host path of the module. */
  readonly path: string;
  /** Name of the entry to start in; null: the main function. */
  readonly entry: string | null;
  readonly argv: readonly string[];
  /** "NAME=value". */
  readonly env: readonly string[];
}

/**
 * Makes the task a TypeScript program: an address space with nothing but a stack, whose arguments and environment only /proc
 * shows. What the program is and gets stays in the kernel's heap (task/program.ts). 0 or -errno.
 */
export function execProgram(task: Ref<"task">, request: ProgramRequest): number {
  const name = bytesOf(request.path.slice(request.path.lastIndexOf("/") + 1));
  const argv = argStrings(request.argv);
  const envp = argStrings(request.env);
  const mm = newMm(task, argv, envp);
  if (mm < 0) return mm;
  const sp = setupStack(mm as Ref<"mm">, {
    argv,
    envp,
    execfn: name,
    executable: false,
    auxv: [],
  });
  const error = sp < 0 ? sp : setProgram(task, JSON.stringify(request));
  if (error < 0) {
    mmPut(mm as Ref<"mm">);
    return error;
  }
  begin(task, mm as Ref<"mm">, name, PROGRAM_START, sp);
  return 0;
}

const encoder = new TextEncoder();
const bytesOf = (text: string | Uint8Array): Uint8Array =>
  typeof text === "string" ? encoder.encode(text) : text;

/** An empty address space for a program with these arguments, or -E2BIG, -ENOMEM. */
function newMm(task: Ref<"task">, argv: ArgStrings, envp: ArgStrings): Ref<"mm"> | number {
  const stackLimit = rlimit(task, RLIMIT_STACK);
  const tooBig = checkArgs(argv, envp, stackLimit);
  if (tooBig < 0) return tooBig;
  const mm = mmCreate();
  if (mm === 0) return -ENOMEM;
  Mm.stackLimit.set(mm, stackLimit);
  Mm.asLimit.set(mm, Math.floor(rlimit(task, RLIMIT_AS) / 4096));
  // A larger stack gets its room below; an unlimited one shares the space with mmap.
  const room = Math.min(stackLimit, MAX_STACK_ROOM);
  if (room > DEFAULT_STACK_LIMIT) Mm.mmapBase.set(mm, Mm.mmapBase.get(mm) - room);
  return mm;
}

/** What the program is called when it was named by a descriptor: its path, as Linux's /dev/fd/N would lead to it. */
function execName(dirfd: number, name: Uint8Array, file: Ref<"file">): Uint8Array {
  if (name[0] === 0x2f || dirfd === AT_FDCWD) return name;
  if (name.length === 0) {
    const dentry = File.dentry.get(file);
    const mount = File.mount.get(file);
    if (dentry !== 0 && mount !== 0) return pathOf(currentFs(), mount, dentry);
  }
  return new TextEncoder().encode(
    `/dev/fd/${dirfd}${name.length === 0 ? "" : `/${new TextDecoder().decode(name)}`}`,
  );
}

/** Loads the file, or what its "#!" line names, into bprm.mm. */
function load(bprm: Bprm): number {
  for (;;) {
    const header = new Uint8Array(BINPRM_BUF_SIZE);
    const got = kernelRead(bprm.file, header, 0);
    if (got < 0) return got;
    bprm.header = header.subarray(0, got);
    bprm.interpreter = null;
    const result = loadBinary(bprm);
    if (result < 0 || bprm.interpreter === null) return result;
    if (++bprm.depth > MAX_DEPTH) return -ELOOP;
    const tooBig = checkArgs(bprm.argv, bprm.envp, Mm.stackLimit.get(bprm.mm));
    if (tooBig < 0) return -E2BIG;
    const next = openExec(AT_FDCWD, bprm.interpreter, 0);
    if (next < 0) {
      if (next === -ENOENT)
        setExecReason(`the interpreter ${new TextDecoder().decode(bprm.interpreter)} does not exist`);
      return next;
    }
    fput(bprm.file);
    bprm.file = next as Ref<"file">;
    bprm.path = bprm.interpreter;
  }
}

/** Past the point of no return: the task becomes the new program. */
function begin(task: Ref<"task">, mm: Ref<"mm">, name: Uint8Array, entry: number, sp: number): void {
  const old = Task.mm.access(task);
  if (old !== 0) leaveOldProgram(task);
  Task.mm.assign(OWNER, task, mm);
  activateMm(mm);
  if (old !== 0) mmPut(old);
  ownFiles(task);
  // No error can be returned any more: what cannot be completed is killed.
  if (beginNewProgram(task, name.subarray(name.lastIndexOf(0x2f) + 1)) < 0) sendSignal(task, SIGKILL);
  resetRegisters(Task.regs.get(task), entry, sp);
}

/** Makes the copy that ownFiles takes, while the call may still run again. 0 or YIELD. */
function prepareFiles(task: Ref<"task">): number {
  const files = Task.files.access(task);
  return files !== 0 && filesShared(files) && copyFiles(task) === YIELD ? YIELD : 0;
}

/** A descriptor table of its own, without what is marked close-on-exec. */
function ownFiles(task: Ref<"task">): void {
  const files = Task.files.access(task);
  if (files === 0) return;
  // Without memory for a copy the table stays shared; its close-on-exec files then stay open.
  if (unshareFiles(task) === 0) closeOnExec(task);
}

/** Set-user-ID and set-group-ID programs, the saved ids, and the capabilities: 0 or -ENOMEM. */
function setUserIds(bprm: Bprm): number {
  const cred = credOf(bprm.task);
  const inode = File.inode.get(bprm.file);
  const mode = Inode.mode.peek(inode);
  const mount = File.mount.get(bprm.file);
  const refused = (Task.flags.get(bprm.task) & TASK_NO_NEW_PRIVS) !== 0;
  const honoured = mount !== 0 && (Mount.flags.peek(mount) & MS_NOSUID) === 0 && !refused;
  let euid = Cred.euid.get(cred);
  let egid = Cred.egid.get(cred);
  if (honoured && (mode & S_ISUID) !== 0) euid = Inode.uid.peek(inode);
  if (honoured && (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)) egid = Inode.gid.peek(inode);
  const same =
    euid === Cred.euid.get(cred) &&
    egid === Cred.egid.get(cred) &&
    euid === Cred.suid.get(cred) &&
    egid === Cred.sgid.get(cred);
  // Nobody without privileges looks into a program that has more than who called it.
  const privileged = euid !== Cred.euid.get(cred) || egid !== Cred.egid.get(cred);
  if (privileged) Task.dumpable.set(bprm.task, 0);
  const error = same
    ? 0
    : commitCred(bprm.task, { euid, suid: euid, fsuid: euid, egid, sgid: egid, fsgid: egid });
  return error < 0 ? error : execCapabilities(bprm.task, privileged);
}
