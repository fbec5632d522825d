/**
 * Writing to the host's descriptors from a CPU. The CPU may stand still in the call (a full pipe, a stopped terminal), so it is
 * marked idle around it: grace periods and TLB requests do not wait for it. Whoever calls must own a count of every
 * object that it touches afterwards.
 */
import { writeSync } from "node:fs";
import { atomicWait, rcuIdleEnter, rcuIdleExit, type SharedWords } from "../../rcu/index.ts";
import { tlbLazyEnter, tlbLazyExit } from "../mm/tlb.ts";
import { EFBIG, EIO, ENOSPC, EPIPE } from "../uapi/errno.ts";

/** How long to wait before a non-blocking descriptor that was full is tried again, in ms: doubled up to the second. */
const FIRST_NAP = 0.05;
const LONGEST_NAP = 5;
const nap: SharedWords = new Int32Array(new SharedArrayBuffer(4));

/** Writes all `length` bytes; their number, or -errno when not even one was written. */
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
      if (code === "EAGAIN") {
        // The host's stdio is non-blocking when its other end says so; poll(2) is not to be had from here.
        atomicWait(nap, 0, 0, pause);
        pause = Math.min(pause * 2, LONGEST_NAP);
      } else if (code !== "EINTR") error = hostError(code);
    }
  }
  rcuIdleExit();
  tlbLazyExit();
  return done === 0 && error !== 0 ? error : done;
}

function hostError(code: string | undefined): number {
  if (code === "EPIPE") return -EPIPE;
  if (code === "ENOSPC") return -ENOSPC;
  return code === "EFBIG" ? -EFBIG : -EIO;
}
