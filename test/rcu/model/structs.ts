/** The structs, reclaimers and releasers that the model's programs use. */
import {
  atomic,
  defineReclaimer,
  defineReleaser,
  fixed,
  listNode,
  mutex,
  type Ref,
  rcu,
  rwlock,
  spinlock,
  struct,
  words,
} from "../../../rcu/index.ts";
import { PREEMPT_WORDS } from "../../../rcu/kernel.ts";

/** What stands where freed memory was. */
export const POISON = 99;
export const Thing = struct("model_thing", { value: fixed() });
export const Root = struct("model_root", {
  current: rcu("model_thing"),
  x: atomic(),
  y: atomic(),
  z: atomic(),
  spin: spinlock(),
  sleep: mutex(),
  both: rwlock(),
});
/** Entries of two lists. */
export const Entry = struct("model_entry", { id: fixed(), link: listNode() });
export const Lists = struct("model_lists", { one: listNode(), other: listNode() });
/** A task that may be switched out: `queued` says that it waits for a CPU, `holds` is what it has in its hands. */
export const Task = struct("model_task", {
  preempt: words(PREEMPT_WORDS),
  holds: atomic(),
  queued: atomic(),
});

/** Counts in `x` of the root: a callback, and a delayed release. */
export const count = defineReclaimer("model: count", (root) => {
  Root.x.add(root as Ref<"model_root">, 1);
});
/** Makes a thing what freed memory is: to see who still reads it. */
export const poison = defineReclaimer("model: poison", (thing) => {
  Thing.value.init(thing as Ref<"model_thing">, POISON);
});
export const release = defineReleaser("model: release", (root) => {
  Root.x.add(root as Ref<"model_root">, 1);
});
