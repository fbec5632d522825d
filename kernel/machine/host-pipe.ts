/**
 * Pipes between the host and a process: the guest's end is an ordinary pipe, so programs see what they expect; the host's end
 * never waits. What happens at it is told by the machine's event word (state.ts).
 *
 * All of this runs on the host thread, with the machine bound.
 */
import type { Ref } from "../../rcu/index.ts";
import { File, FMODE_WRITE, fput } from "../fs/file.ts";
import { pipeFiles, pipeOf, pipePoll, pipeRead, pipeWrite, readEnd, writeEnd } from "../ipc/pipe.ts";
import { Pipe } from "../ipc/pipe-ends.ts";
import { UserIo } from "../mm/iov.ts";
import { addWakeHook, defineWakeHook, removeWakeHook } from "../sched/waitqueue.ts";
import { EPIPE } from "../uapi/errno.ts";
import { O_NONBLOCK } from "../uapi/fcntl.ts";
import { POLLERR } from "../uapi/poll.ts";
import { notifyHost } from "./state.ts";

/** Number of the wake hook; ipc/eventpoll.ts has 1. */
const HOOK_HOST = 2;
defineWakeHook(HOOK_HOST, notifyHost);

const io = new UserIo();

export interface HostPipe {
  /** The end for the guest, with one count. */
  readonly guest: Ref<"file">;
  readonly host: Ref<"file">;
  /** The wake hook that watches the host's end. */
  readonly hook: number;
}

/** A pipe; the host writes to it when `guestReads`, else it reads. Or -errno. */
export function hostPipe(guestReads: boolean): HostPipe | number {
  const error = pipeFiles(0);
  if (error < 0) return error;
  const [guest, host] = guestReads ? [readEnd, writeEnd] : [writeEnd, readEnd];
  File.flags.or(host, O_NONBLOCK);
  const pipe = pipeOf(host);
  const hook = addWakeHook((guestReads ? Pipe.writeWait : Pipe.readWait).at(pipe), HOOK_HOST, 0);
  if (hook >= 0) return { guest, host, hook };
  fput(guest);
  fput(host);
  return hook;
}

/** Bytes read, 0 when all writers are gone, -EAGAIN when there is nothing yet. */
export function hostPipeRead(pipe: HostPipe, buffer: Uint8Array): number {
  io.setKernel(buffer);
  return pipeRead(pipeOf(pipe.host), io);
}

/** Bytes written, -EAGAIN when it is full, -EPIPE when nobody will read. */
export function hostPipeWrite(pipe: HostPipe, bytes: Uint8Array): number {
  if ((pipePoll(pipeOf(pipe.host), FMODE_WRITE) & POLLERR) !== 0) return -EPIPE;
  io.setKernel(bytes);
  return pipeWrite(pipeOf(pipe.host), io);
}

export function hostPipeClose(pipe: HostPipe): void {
  removeWakeHook(pipe.hook);
  fput(pipe.host);
}
