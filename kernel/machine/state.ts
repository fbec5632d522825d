/**
 * What the host thread and the CPUs tell each other through words of RAM that no guest can name: an event count that the
 * host sleeps on, whether its tick stands still, and how far each CPU has booted.
 */
import {
  atomicAdd,
  atomicCas,
  atomicLoad,
  atomicNotify,
  atomicStore,
  atomicWait,
  atomicWaitAsync,
  type SharedWords,
} from "../../rcu/index.ts";
import { ram } from "../mm/ram.ts";

/** Word indices in the first page of RAM; word 0 is RAM's magic number. */
export const HOST_EVENT = 1;
export const HOST_TICK_STOPPED = 2;
export const MACHINE_STOPPING = 3;
/** Set when the host has made the tables of the subsystems: CPUs that have loaded theirs may open them. */
const BOOT_GO = 4;
/** One word for each CPU: its stage. */
const FIRST_STAGE = 64;

/** A CPU that boots is at stage n > 0 while it loads the subsystem module n - 1, and else at one of these. */
export const STAGE_STARTING = 0;
export const STAGE_LOADED = -1;
/** The exception that ends the CPU is a subsystem's: so would be the next one. */
export const STAGE_REFUSED = -2;
export const STAGE_UP = -3;

/** These take RAM's words, not `ram`: a CPU that loads subsystems is not bound to its machine yet. */
export const bootStage = (words: SharedWords, cpu: number): number => atomicLoad(words, FIRST_STAGE + cpu);
export function setBootStage(words: SharedWords, cpu: number, stage: number): void {
  atomicStore(words, FIRST_STAGE + cpu, stage);
  atomicAdd(words, HOST_EVENT, 1);
  atomicNotify(words, HOST_EVENT);
}
export function bootGo(words: SharedWords): void {
  atomicStore(words, BOOT_GO, 1);
  atomicNotify(words, BOOT_GO);
}
/** On a CPU: sleeps until bootGo. */
export function awaitBootGo(words: SharedWords): void {
  while (atomicLoad(words, BOOT_GO) === 0) atomicWait(words, BOOT_GO, 0);
}

/** Something for the host: a process ended, a line is in the log, input was taken. */
export function notifyHost(): void {
  atomicAdd(ram.i32, HOST_EVENT, 1);
  atomicNotify(ram.i32, HOST_EVENT);
}

/**
 * On the host: resolves when the count of events has moved on from `seen`, or after `ms`. The event loop turns in any case: where events
 * never end, the tick, signals and input come all the same.
 */
export async function hostEvent(words: SharedWords, seen: number, ms: number): Promise<void> {
  const wait = atomicWaitAsync(words, HOST_EVENT, seen, ms);
  if (wait.async) await wait.value;
  else await new Promise((resolve) => setImmediate(resolve));
}

/** A CPU has work after it was idle: the host must tick again if it stopped. */
export function needTick(): void {
  if (atomicLoad(ram.i32, HOST_TICK_STOPPED) !== 0 && atomicCas(ram.i32, HOST_TICK_STOPPED, 1, 0))
    notifyHost();
}

/** Whether CPUs are to leave their loops. */
export const machineStopping = (): boolean => atomicLoad(ram.i32, MACHINE_STOPPING) !== 0;
export const stopMachine = (): void => atomicStore(ram.i32, MACHINE_STOPPING, 1);
