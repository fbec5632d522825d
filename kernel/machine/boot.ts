/** Bringing a machine up: every part of the kernel in order, one line each. Runs on the host thread, before any CPU. */

import { Heap, HeapError, type HeapHandle, heapPages, type SharedWords } from "../../rcu/index.ts";
import { limitCaches } from "../../rcu/kernel.ts";
import { type ConsoleOptions, consoleCreate } from "../drivers/console.ts";
import { ptyInit } from "../drivers/pty.ts";
import { bindDescriptors, closeDescriptors } from "../fs/hostfs/opener.ts";
import {
  ensureMountpoint,
  mountFs,
  mountHost,
  mountRoot,
  mountStandard,
  populateRoot,
  vfsInit,
} from "../fs/vfs.ts";
import { futexInit } from "../futex.ts";
import { bindGlobals, createGlobals } from "../global.ts";
import { hashKeysInit } from "../hash-keys.ts";
import { ipcInit } from "../ipc/index.ts";
import { klogInit } from "../klog.ts";
import { createRam, RamError, ram } from "../mm/ram.ts";
import { mmInit } from "../mm/shmem.ts";
import { cpusInit, MAX_CPUS } from "../sched/cpus.ts";
import { setCurrent, setThisCpu } from "../sched/current.ts";
import { laterInit } from "../sched/later.ts";
import type { Instance } from "../subsystem/place.ts";
import { newSyscallCounts } from "../syscall-entry.ts";
import { limitsInit } from "../task/limits.ts";
import { pidsInit } from "../task/pid.ts";
import { usersInit } from "../task/user.ts";
import { utsInit } from "../task/uts.ts";
import { clockInit } from "../time/clock.ts";
import { timersInit } from "../time/timer.ts";
import { errnoText } from "../uapi/errno.ts";
import { MS_RDONLY } from "../uapi/mount.ts";
import { unknownCallsInit } from "../unknown-calls.ts";
import { checkAddressSpace } from "./address-space.ts";
import { MachineError } from "./error.ts";
import { initGroupInit } from "./init-group.ts";
import "./modules.ts";

/** A host folder that the guest sees. */
export interface MountOption {
  readonly host: string;
  /** Absolute guest path; made if it is not there. */
  readonly guest: string;
  readonly writable?: boolean;
}

export interface KernelOptions {
  readonly cpus: number;
  /** Bytes of guest memory. */
  readonly memory: number;
  /**
   * Bytes of the kernel heap, besides `memory`. Default: 32 MiB, and an eighth of `memory`, which guests then do not have as RAM. Only what
   * is used takes memory.
   */
  readonly heap?: number;
  /** Debug heap: freed cells are poisoned and checked. */
  readonly debug?: boolean;
  /** Host folder that is the guest's `/`; null: an empty tmpfs with the usual folders. */
  readonly root?: string | null;
  /** Whether the guest may write to `root`. */
  readonly rootWritable?: boolean;
  readonly mounts?: readonly MountOption[];
  readonly console: ConsoleOptions;
}

export interface Kernel {
  readonly heap: Heap;
  readonly handle: HeapHandle;
  readonly memory: WebAssembly.Memory;
  /** The words of `memory`: state.ts. */
  readonly words: SharedWords;
  readonly globals: number;
  /** What the host's thread opened for hostfs (fs/hostfs/opener.ts). */
  readonly descriptors: Set<number>;
  /** The subsystems, as this thread sees them: none until they are plugged in. */
  subsystems: readonly Instance[];
}

export { MachineError };

/** Of the kernel heap: what its tables and the first processes take, whatever the size of the machine; and the part of memory besides. */
const HEAP_BYTES = 32 << 20;
const HEAP_SHIFT = 3;
const HEAP_MOST = 2 ** 31;
/** One struct type takes no more than this part of the heap. */
const CACHE_SHIFT = 2;

/**
 * Makes the kernel's state. `startThreads` is called once there is room for them, so that they load their code meanwhile. Throws MachineError
 * for options that cannot be had.
 */
export function bootKernel(options: KernelOptions, startThreads: () => void = () => {}): Kernel {
  try {
    return makeKernel(options, startThreads);
  } catch (error) {
    if (error instanceof RamError || error instanceof HeapError) throw new MachineError(error.message);
    throw error;
  }
}

function makeKernel(options: KernelOptions, startThreads: () => void): Kernel {
  const { cpus } = options;
  if (!(Number.isInteger(cpus) && cpus >= 1 && cpus <= MAX_CPUS))
    throw new MachineError(`${cpus} CPUs: a machine has 1 to ${MAX_CPUS}`);
  // A size that cannot be is for createRam to refuse.
  const divided = options.heap === undefined && options.memory >= 0;
  const share = divided ? Math.floor(options.memory / 2 ** HEAP_SHIFT) : 0;
  const bytes = options.heap ?? Math.min(HEAP_MOST, HEAP_BYTES + share);
  const heap = Heap.create(options.debug === undefined ? { bytes } : { bytes, debug: options.debug });
  const globals = createGlobals();
  if (globals === 0) throw new MachineError("the kernel heap is too small");
  bindGlobals(globals);
  const descriptors = new Set<number>();
  bindDescriptors(descriptors);
  setThisCpu(-1);
  setCurrent(0);
  const memory = createRam(options.memory - share, cpus, options.memory); // page frames, register files
  checkAddressSpace(cpus);
  startThreads();
  hashKeysInit(); // secret numbers of hashes
  limitsInit(); // what there may be of each kind
  limitCaches(heapPages().total >> CACHE_SHIFT);
  usersInit(); // what each user has
  klogInit(); // kernel log
  unknownCallsInit(); // calls that do not exist
  clockInit(); // real and monotonic time
  timersInit(); // timer queue
  cpusInit(cpus, newSyscallCounts); // run queues
  if (!laterInit()) throw new MachineError("the kernel heap is too small"); // work that is put off
  pidsInit(); // pid table, task list
  utsInit(); // host name
  futexInit(); // futex buckets
  mmInit(); // page cache, vdso page
  vfsInit(); // inode, dentry and mount tables
  ipcInit(); // epoll, names of unix sockets
  ptyInit(); // pseudo-terminals
  consoleCreate(options.console); // standard streams, terminal
  initGroupInit(); // pid 1
  try {
    mountAll(options); // root, devices, host folders
  } catch (error) {
    closeDescriptors();
    throw error;
  }
  return { heap, handle: heap.handle(), memory, words: ram.i32, globals, descriptors, subsystems: [] };
}

function mountAll(options: KernelOptions): void {
  const root = options.root ?? null;
  check(
    root === null
      ? mountRoot("tmpfs", "rootfs")
      : mountRoot("hostfs", root, options.rootWritable === true ? 0 : MS_RDONLY),
    `mount ${root ?? "tmpfs"} on /`,
  );
  if (root === null) check(populateRoot(), "populate /");
  check(mountStandard(), "mount /dev");
  check(ensureMountpoint("/proc"), "make /proc");
  check(mountFs("proc", "proc", "/proc"), "mount /proc");
  check(mountFs("devpts", "devpts", "/dev/pts"), "mount /dev/pts");
  check(ensureMountpoint("/sys"), "make /sys");
  check(mountFs("sysfs", "sysfs", "/sys"), "mount /sys");
  for (const mount of options.mounts ?? []) {
    const mounted = mountHost(mount.host, mount.guest, mount.writable === true);
    check(mounted, `mount ${mount.host} on ${mount.guest}`);
  }
}

function check(result: number, what: string): void {
  if (result < 0) throw new MachineError(`cannot ${what}: ${errnoText(-result)}`);
}
