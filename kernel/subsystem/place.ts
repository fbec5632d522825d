/**
 * The places where the kernel calls a subsystem, numbered alike on the host and on every CPU. While a callback runs, its
 * number stands in the CPU's struct, where the host's watchdog sees it, and on all that the callback allocates, so that
 * what it leaks can be named.
 */
import type { Ref } from "../../rcu/index.ts";
import { setAllocOwner } from "../../rcu/kernel.ts";
import { Cpu } from "../sched/cpus.ts";
import { fallingAsleep, stayAwake } from "../sched/idle.ts";
import type { SubsystemContext } from "./context.ts";
import type { Subsystem } from "./define.ts";
import { callLimited } from "./limit.ts";

/** A subsystem of the machine that this thread works for now. */
export interface Instance {
  readonly subsystem: Subsystem;
  readonly context: SubsystemContext;
  /** Its place among the machine's subsystems, from 1. */
  readonly number: number;
  /** How long a callback may run, in milliseconds. */
  readonly limitMs: number;
  /** By name. */
  readonly places: Map<string, Place>;
}

/** Says what is wrong with a result (and what would be right), or null. Gets the callback's arguments too. */
export type Check = (result: unknown, a: unknown, b: unknown, c: unknown) => string | null;

export interface Place {
  readonly instance: Instance;
  /** As reports name it: "hook taskExit", "read of /dev/x". */
  readonly where: string;
  /** instance.number << PLACE_BITS | number of the place. */
  readonly code: number;
  check: Check | null;
}

const PLACE_BITS = 12;

const DEVICE_CALLS = ["open", "read", "write", "poll", "ioctl", "size", "mmap", "release"] as const;
export type DeviceCall = (typeof DEVICE_CALLS)[number];
export const devicePlace = (call: DeviceCall, name: string): string =>
  `${call} ${call === "write" ? "to" : "of"} /dev/${name}`;

/** Every place of a subsystem but its system calls, in an order that follows from the literal. */
function placeNames(subsystem: Subsystem): string[] {
  const { name, tables, hooks, devices, sys, reclaimers, releasers } = subsystem;
  const files = [`/proc/${name}`, ...Object.keys(sys ?? {}).map((file) => `/sys/kernel/${name}/${file}`)];
  return [
    ...["init", "exit", "report", "syscalls"],
    ...Object.keys(tables ?? {}).flatMap((key) => [`making table ${key}`, `freeing table ${key}`]),
    ...Object.keys(hooks ?? {}).map((hook) => `hook ${hook}`),
    ...Object.keys(devices ?? {}).flatMap((device) => DEVICE_CALLS.map((call) => devicePlace(call, device))),
    ...files.flatMap((file) => [`read of ${file}`, `write to ${file}`]),
    ...Object.keys(reclaimers ?? {}).map((entry) => `reclaimer ${entry}`),
    ...Object.keys(releasers ?? {}).map((entry) => `releaser ${entry}`),
  ];
}

export function newInstance(
  subsystem: Subsystem,
  context: SubsystemContext,
  number: number,
  limitMs: number,
): Instance {
  const instance: Instance = { subsystem, context, number, limitMs, places: new Map() };
  for (const where of placeNames(subsystem)) addPlace(instance, where);
  return instance;
}

/** The same on every thread if it is called in the same order. */
export function addPlace(instance: Instance, where: string): void {
  const { places, number } = instance;
  if (places.has(where)) return;
  places.set(where, { instance, where, code: (number << PLACE_BITS) | places.size, check: null });
}

/** The place of that name, which says from now on what a result may be. */
export function placeOf(instance: Instance, where: string, check: Check | null = null): Place {
  const place = instance.places.get(where);
  if (place === undefined) throw new Error(`subsystem ${instance.subsystem.name} has no place ${where}`);
  if (check !== null) place.check = check;
  return place;
}

export function placeByCode(instances: readonly Instance[], code: number): Place | null {
  const instance = instances[(code >> PLACE_BITS) - 1];
  for (const place of instance?.places.values() ?? []) if (place.code === code) return place;
  return null;
}

let self: Ref<"cpu"> | 0 = 0;
/** This thread is that CPU: its watchdog looks there. */
export function watchPlaces(cpu: Ref<"cpu">): void {
  self = cpu;
}

/** This thread is about to run a callback; returns what leavePlace wants. */
export function enterPlace(code: number): number {
  const outer = setAllocOwner(code);
  if (self === 0) return outer;
  if (fallingAsleep) stayAwake(self);
  // A plain counter and a plain word: the host only wants to see that they stand still.
  if (outer === 0) Cpu.entries.set(self, (Cpu.entries.get(self) + 1) | 0);
  Cpu.inside.set(self, code);
  return outer;
}
export function leavePlace(outer: number): void {
  setAllocOwner(outer);
  if (self !== 0) Cpu.inside.set(self, outer);
}

/** Runs a part of a subsystem whose exceptions are the caller's: while the machine boots. On the host with its time limit. */
export function runAt<R>(place: Place, work: () => R): R {
  const outer = enterPlace(place.code);
  try {
    return self === 0 ? callLimited(place.instance.limitMs, work) : work();
  } finally {
    leavePlace(outer);
  }
}

/** Runs a function of the kernel for a subsystem: what it allocates is the kernel's. */
export function asKernel<R>(work: () => R): R {
  const owner = setAllocOwner(0);
  try {
    return work();
  } finally {
    setAllocOwner(owner);
  }
}
