/**
 * `sternix` as modules see it that the checker runs: what subsystems are made of. There is no machine, no task and no user
 * memory in a scenario, so what needs one throws. A test holds the names against those of userland/index.ts.
 */
import { CheckError } from "./check.ts";

export { BLOCK } from "../../../kernel/sched/block.ts";
export { waitOn, waitqueue, wakeUp } from "../../../kernel/sched/waitqueue.ts";
export { defineSubsystem, isSubsystem } from "../../../kernel/subsystem/define.ts";
export { SharedCounter, table } from "../../../kernel/subsystem/table.ts";
export * from "../../../kernel/uapi/errno.ts";
export * from "../../../kernel/uapi/poll.ts";
export * as args from "../../../syscalls/args.ts";
export { syscall } from "../../../syscalls/syscall.ts";
export * as uapi from "../../programs/uapi.ts";

const absent = (name: string) => (): never => {
  throw new CheckError("ERR_CHECK_THREAD", `${name}: a scenario has no machine around it`);
};

/** Monotonic nanoseconds. */
export const nowNs = (): number => performance.now() * 1e6;
/** A call's name: scenarios name their calls themselves. */
export const syscallName = (nr: number): string => `syscall_${nr}`;
export const DEFAULT_ENV = {};

export const copyFromUser = absent("copyFromUser");
export const copyToUser = absent("copyToUser");
export const strncpyFromUser = absent("strncpyFromUser");
export const program = absent("program");
export const Machine = { boot: absent("Machine.boot") };
export const GuestProcess = absent("GuestProcess");
export const SubsystemContext = absent("SubsystemContext");
export const CallView = absent("CallView");
export const OpenFile = absent("OpenFile");
export const TaskView = absent("TaskView");
export class MachineError extends Error {}
export class OopsError extends Error {}
export class PanicError extends Error {}
export class SubsystemError extends Error {}
export class CpuLostError extends Error {}
export class SpawnError extends Error {}
export class MemoryFault extends Error {}
export class SysError extends Error {}
