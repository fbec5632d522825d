/** What the programs of the model call. Each CPU imports a copy of its own (instance.ts). */

export { goActive, goIdle, gpSeq, tryEndGp } from "../../../rcu/grace-period.ts";
export * from "../../../rcu/index.ts";
export * from "../../../rcu/kernel.ts";
export { i32 } from "../../../rcu/memory.ts";
export { takeShelves } from "../../../rcu/shelf.ts";
export { count, Entry, Lists, poison, Root, release, Task, Thing } from "./structs.ts";
export { updater } from "./updater.ts";
