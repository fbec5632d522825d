/**
 * What the host thread and the CPUs tell each other through words of RAM that no guest can name: an event count that the
 * host sleeps on, and whether its tick stands still.
 */
import { atomicAdd, atomicCas, atomicLoad, atomicNotify, atomicStore } from "../../rcu/index.ts";
import { ram } from "../mm/ram.ts";

/** Word indices in the first page of RAM; word 0 is RAM's magic number. */
export const HOST_EVENT = 1;
export const HOST_TICK_STOPPED = 2;
export const MACHINE_STOPPING = 3;
/** CPUs that have come up: the boot barrier. */
export const CPUS_UP = 4;

/** Something for the host: a process ended, a line is in the log, captured output is there. */
export function notifyHost(): void {
  atomicAdd(ram.i32, HOST_EVENT, 1);
  atomicNotify(ram.i32, HOST_EVENT);
}

/** A CPU has work after it was idle: the host must tick again if it stopped. */
export function needTick(): void {
  if (atomicLoad(ram.i32, HOST_TICK_STOPPED) !== 0 && atomicCas(ram.i32, HOST_TICK_STOPPED, 1, 0))
    notifyHost();
}

/** Whether CPUs are to leave their loops. */
export const machineStopping = (): boolean => atomicLoad(ram.i32, MACHINE_STOPPING) !== 0;
export const stopMachine = (): void => atomicStore(ram.i32, MACHINE_STOPPING, 1);
