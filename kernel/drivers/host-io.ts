/**
 * Writing to the host's descriptors from a CPU. The CPU may stand still in the call (a stopped disk), so it is marked idle around
 * it: grace periods and TLB requests do not wait for it. Whoever calls must own a count of every object that it touches
 * afterwards.
 *
 * Where nobody reads, a pipe or a terminal would keep the CPU, and a task that no signal reaches. So those are opened once more, as
 * non-blocking (the flag belongs to the open file, which this process may share with others), and a task sleeps until the next try.
 */
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { atomicWait, type Ref, rcuIdleEnter, rcuIdleExit, type SharedWords } from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { tlbLazyEnter, tlbLazyExit } from "../mm/tlb.ts";
import { nowNs } from "../sched/current.ts";
import { blockUntil } from "../sched/restart.ts";
import { EAGAIN, EFBIG, EIO, ENOSPC, EPIPE } from "../uapi/errno.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";

/** How long to wait before a descriptor that was full is tried again, in ms: doubled, until the task has to sleep. */
const FIRST_NAP = 0.05;
const LONGEST_NAP = 0.4;
/** How long the task sleeps then. poll(2) is not to be had from here. */
const SLEEP_NS = 2_000_000;
const nap: SharedWords = new Int32Array(new SharedArrayBuffer(4));

/** On the host: a descriptor for the same pipe or terminal that never blocks; `fd` itself for other files, and where there is none. */
export function openOutput(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO() && !isatty(fd)) return fd;
    const { O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return fd; // Not Linux, not ours to open, or closed, which writing will tell.
  }
}

/** For the current task: as writeHost; on -EAGAIN it is about to sleep until the next try, unless `file` is non-blocking. */
export function writeOrSleep(file: Ref<"file">, fd: number, bytes: Uint8Array, length: number): number {
  const count = writeHost(fd, bytes, length);
  if (count === -EAGAIN && (File.flags.load(file) & O_NONBLOCK) === 0) blockUntil(nowNs() + SLEEP_NS);
  return count;
}

/** Writes `length` bytes, or as many as find room: their number, or -errno when not even one was written. */
export function writeHost(fd: number, bytes: Uint8Array, length: number): number {
  let done = 0;
  let error = 0;
  let pause = FIRST_NAP;
  tlbLazyEnter();
  rcuIdleEnter();
  while (done < length && error === 0) {
    try {
      done += writeSync(fd, bytes, done, length - done);
      pause = FIRST_NAP;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === "EINTR") continue;
      if (code === "EAGAIN" && pause <= LONGEST_NAP) {
        atomicWait(nap, 0, 0, pause);
        pause *= 2;
      } else error = hostError(code);
    }
  }
  rcuIdleExit();
  tlbLazyExit();
  return done === 0 && error !== 0 ? error : done;
}

function hostError(code: string | undefined): number {
  if (code === "EAGAIN") return -EAGAIN;
  if (code === "EPIPE") return -EPIPE;
  if (code === "ENOSPC") return -ENOSPC;
  return code === "EFBIG" ? -EFBIG : -EIO;
}
