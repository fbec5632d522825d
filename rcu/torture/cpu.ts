/**
 * A torture CPU: one worker thread that hosts readers and updaters, several at a time. An actor is a generator; what it
 * yields is where its CPU may turn to another one, which is a safe point. It may yield a promise: it goes on when that
 * is fulfilled, and the CPU does other things meanwhile, or waits in its event loop.
 */
import {
  type Heap,
  type RcuDomain,
  type Ref,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuRunCallbacks,
} from "../index.ts";
import type { ActorName } from "./body.ts";
import type { Random } from "./random.ts";
import { Control } from "./state.ts";

export type ControlRef = Ref<"torture_control">;

export interface Cpu {
  readonly control: ControlRef;
  readonly random: Random;
  readonly heap: Heap;
  /** Names of the actors that it hosts. One that is alone may block it; others must think of those that need their turn. */
  readonly hosts: readonly ActorName[];
  /** Scopes that the actors keep open from turn to turn: a thread does not leave the heap inside one, or while a task runs. */
  scopes: number;
  /** The domain whose scopes the actors use; null: they are the kernel's. */
  readonly domain: RcuDomain | null;
}

export type Actor = (cpu: Cpu) => Generator<Promise<unknown> | undefined, void>;

interface Hosted {
  readonly steps: Generator<Promise<unknown> | undefined, void>;
  /** Settles when the actor may go on; null: now. */
  waits: Promise<unknown> | null;
}

export const stopped = (control: ControlRef): boolean => Control.stop.load(control) !== 0;

/** Runs the actors until each has ended, which they do when the run is stopped. */
export async function runCpu(cpu: Cpu, actors: readonly Actor[]): Promise<void> {
  const hosted: Hosted[] = actors.map((actor) => ({ steps: actor(cpu), waits: null }));
  while (hosted.length > 0) {
    const now = nextReady(hosted, cpu.random);
    if (now === null) {
      await turnEventLoop(cpu, Promise.race(hosted.map(({ waits }) => waits)));
      continue;
    }
    const { value, done } = now.steps.next();
    if (done === true) hosted.splice(hosted.indexOf(now), 1);
    else if (value !== undefined)
      now.waits = value.then(() => {
        now.waits = null;
      });
    if (cpu.domain === null) safePoint(cpu, hosted);
    // A promise is fulfilled in the event loop only; and there, a domain's scopes end.
    const often = hosted.some(({ waits }) => waits !== null) ? 10 : cpu.domain !== null ? 100 : 0;
    if (often > 0 && cpu.random.chance(often)) await turnEventLoop(cpu, eventLoopTurn(cpu.random));
  }
}

function nextReady(hosted: readonly Hosted[], random: Random): Hosted | null {
  const first = random.below(hosted.length);
  for (let n = 0; n < hosted.length; n++) {
    const actor = hosted[(first + n) % hosted.length]!;
    if (actor.waits === null) return actor;
  }
  return null;
}

const eventLoopTurn = (random: Random): Promise<unknown> =>
  new Promise((resolve) => (random.chance(10) ? setTimeout(resolve, 1) : setImmediate(resolve)));

async function turnEventLoop(cpu: Cpu, until: Promise<unknown>): Promise<void> {
  if (cpu.domain === null) rcuIdleEnter();
  await until;
  if (cpu.domain === null) rcuIdleExit();
}

/** Between two turns, outside of scopes. Not every one is used: readers shall lag behind, now and then. */
function safePoint({ control, random, heap, scopes }: Cpu, hosted: readonly Hosted[]): void {
  if (random.chance(4)) {
    rcuQuiescent();
    rcuRunCallbacks();
  }
  if (random.chance(2000)) {
    rcuIdleEnter();
    Control.stop.wait(control, 0, random.below(3));
    rcuIdleExit();
  }
  if (random.chance(20_000) && scopes === 0 && hosted.every(({ waits }) => waits === null)) {
    heap.detach(); // CPU hotplug: off with callbacks pending, and on again in whatever slot is free.
    heap.reattach();
    Control.hotplugs.add(control, 1);
  }
}
