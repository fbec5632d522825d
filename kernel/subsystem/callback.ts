/**
 * Reclaimers and releasers of subsystems. RCU knows them by name and one thread may serve several machines (the host
 * does), so a name is declared once per thread and finds the subsystem of the machine that is bound when it runs.
 */
import { defineReclaimer, defineReleaser, type Reclaimer, type Releaser } from "../../rcu/index.ts";
import type { Subsystem } from "./define.ts";

type Run = (name: string, entry: string, arg: number, task: number) => void;

const reclaimers = new Map<string, Reclaimer>();
const releasers = new Map<string, Releaser>();

/** Declares what the subsystem may queue; `reclaim` and `release` find it when the time has come. */
export function declareCallbacks(subsystem: Subsystem, reclaim: Run, release: Run): void {
  const { name } = subsystem;
  for (const entry of Object.keys(subsystem.reclaimers ?? {})) {
    const full = `subsystem ${name}/${entry}`;
    if (!reclaimers.has(full))
      reclaimers.set(
        full,
        defineReclaimer(full, (arg) => reclaim(name, entry, arg, 0)),
      );
  }
  for (const entry of Object.keys(subsystem.releasers ?? {})) {
    const full = `subsystem ${name}/${entry}`;
    if (!releasers.has(full))
      releasers.set(
        full,
        defineReleaser(full, (arg, task) => release(name, entry, arg, task)),
      );
  }
}

/** Releasers that may queue releases in a row before that counts as a loop; rcu/release.ts gives up at ten times that. */
const LONGEST_CHAIN = 1000;
let releasing = "";
/** Whether the releaser that runs has queued something. */
let queued = false;
let chain = 0;

/** Runs a releaser; what it queues meanwhile is its consequence. */
export function runReleaser(name: string, run: () => void): void {
  releasing = name;
  queued = false;
  try {
    run();
  } finally {
    releasing = "";
  }
}

/** The subsystem queues a release. Throws when its releasers do nothing but that. */
export function noteQueued(name: string): void {
  if (releasing !== name) chain = 0;
  else if (!queued) chain++;
  queued = true;
  if (chain <= LONGEST_CHAIN) return;
  chain = 0;
  throw new Error(`${LONGEST_CHAIN} releasers in a row queued releases: a loop, which ends here`);
}

export function reclaimerOf(subsystem: Subsystem, entry: string): Reclaimer {
  const found = reclaimers.get(`subsystem ${subsystem.name}/${entry}`);
  if (found === undefined) throw new Error(`subsystem ${subsystem.name} has no reclaimer ${entry}`);
  return found;
}

export function releaserOf(subsystem: Subsystem, entry: string): Releaser {
  const found = releasers.get(`subsystem ${subsystem.name}/${entry}`);
  if (found === undefined) throw new Error(`subsystem ${subsystem.name} has no releaser ${entry}`);
  return found;
}
