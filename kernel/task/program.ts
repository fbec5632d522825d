/**
 * What the kernel keeps of a TypeScript program's task. The host path of its module, the entry it starts in and the generator
 * that it runs select code of the host, so they stand in the kernel's heap: not on its stack and not in registers that a
 * signal frame holds, since another guest of the same user could write there.
 */
import {
  atomic,
  bytes,
  fixed,
  free,
  freeString,
  owned,
  type Ref,
  stringText,
  struct,
  tryAlloc,
  tryAllocString,
} from "../../rcu/index.ts";
import { ram } from "../mm/ram.ts";
import { ENOMEM } from "../uapi/errno.ts";
import { USER_REGS } from "../usermode.ts";
import { Task } from "./task.ts";

/** How a program starts; constant. Shared by the processes that fork makes of it. */
export const ProgramStart = struct("program_start", {
  refcount: atomic(),
  /** JSON, for the engine: the kernel does not look into it. */
  text: fixed<Ref<"string">>(),
});

/** Gives the task a way to start, instead of the one that it had: 0 or -ENOMEM. */
export function setProgram(task: Ref<"task">, text: string): number {
  const kept = tryAllocString(text);
  if (kept === 0) return -ENOMEM;
  const start = tryAlloc(ProgramStart);
  if (start === 0) {
    freeString(kept);
    return -ENOMEM;
  }
  ProgramStart.refcount.init(start, 1);
  ProgramStart.text.init(start, kept);
  putProgram(task);
  Task.program.set(task, start);
  Task.programToken.set(task, 0);
  return 0;
}

/** What setProgram was given. */
export const programText = (task: Ref<"task">): string =>
  stringText(ProgramStart.text.get(Task.program.get(task) as Ref<"program_start">));

/** A clone's part: the child starts as its parent did, and runs the generator that was announced for it. */
export function copyProgram(parent: Ref<"task">, child: Ref<"task">): void {
  const start = Task.program.get(parent) as Ref<"program_start"> | 0;
  if (start === 0) return;
  ProgramStart.refcount.add(start, 1);
  Task.program.set(child, start);
  Task.programToken.set(child, Task.programChild.get(parent));
  Task.programChild.set(parent, 0);
}

/** The task is no program any more: it exits, or became a riscv64 program. */
export function putProgram(task: Ref<"task">): void {
  while (Task.programFrames.get(task) !== 0) freeFrame(task);
  const start = Task.program.get(task) as Ref<"program_start"> | 0;
  Task.program.set(task, 0);
  if (start === 0 || !ProgramStart.refcount.decAndTest(start)) return;
  freeString(ProgramStart.text.get(start));
  free(ProgramStart, start);
}

/** Bytes of x0..x31 and the pc. */
const SAVED_BYTES = USER_REGS.PC + 8;

/** What a signal handler interrupted: for other tasks the signal frame on the stack. */
export const ProgramFrame = struct("program_frame", {
  /** The frame of the handler that this one interrupted: Ref<"program_frame"> or 0. */
  next: owned(),
  /** Frames from here to the outermost. */
  depth: owned(),
  maskLow: owned(),
  maskHigh: owned(),
  regs: bytes(SAVED_BYTES),
});

/** Handlers that interrupt each other: as many as a stack of usual size has room for. */
const MAX_FRAMES = 1024;

/** Saves the registers and the mask to go back to. False when there is no room: as on a stack that is full. */
export function pushProgramFrame(task: Ref<"task">, maskLow: number, maskHigh: number): boolean {
  const outer = Task.programFrames.get(task) as Ref<"program_frame"> | 0;
  const depth = outer === 0 ? 1 : ProgramFrame.depth.get(outer) + 1;
  if (depth > MAX_FRAMES) return false;
  const frame = tryAlloc(ProgramFrame);
  if (frame === 0) return false;
  const regs = Task.regs.get(task);
  ProgramFrame.regs.view(frame).set(ram.u8.subarray(regs, regs + SAVED_BYTES));
  ProgramFrame.maskLow.set(frame, maskLow);
  ProgramFrame.maskHigh.set(frame, maskHigh);
  ProgramFrame.depth.set(frame, depth);
  ProgramFrame.next.set(frame, outer);
  Task.programFrames.set(task, frame);
  return true;
}

/** Goes back to what the innermost handler interrupted, and stores its mask; false when no handler runs. */
export function popProgramFrame(task: Ref<"task">, mask: { maskLow: number; maskHigh: number }): boolean {
  const frame = Task.programFrames.get(task) as Ref<"program_frame"> | 0;
  if (frame === 0) return false;
  ram.u8.set(ProgramFrame.regs.view(frame), Task.regs.get(task));
  mask.maskLow = ProgramFrame.maskLow.get(frame);
  mask.maskHigh = ProgramFrame.maskHigh.get(frame);
  freeFrame(task);
  return true;
}

function freeFrame(task: Ref<"task">): void {
  const frame = Task.programFrames.get(task) as Ref<"program_frame">;
  Task.programFrames.set(task, ProgramFrame.next.get(frame));
  free(ProgramFrame, frame);
}
