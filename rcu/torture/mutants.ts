/**
 * Mistakes that the torture test must catch. A mutant is an exact replacement in the text of a source file, made by a
 * module hook while a test worker loads it; the code itself has no switch. Text that is not found is an error, so
 * a mutant cannot rot unnoticed.
 */
import * as modules from "node:module";
import type { TortureOptions } from "./torture.ts";

export interface Mutant {
  readonly name: string;
  /** The mistake, and who made it. */
  readonly why: string;
  /** File under rcu/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** A cast that shows it sooner than the usual one. */
  readonly options?: Pick<TortureOptions, "cpus" | "readers" | "updaters" | "chores">;
  /** The flavour whose readers it harms. Default: qsbr. */
  readonly flavour?: "preempt" | "srcu" | "tasks" | "domain";
  /** Why torture is not likely to find it; the model checker does. */
  readonly modelOnly?: string;
}

const NO_LOCK_FREE = "torture has no map without a lock";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "synchronize-noop",
    why: "synchronize that does nothing",
    file: "synchronize.ts",
    find: "    requestGp(stamp);\n    if (expedited)",
    replace: "    if (stamp !== -1) return;\n    if (expedited)",
  },
  {
    name: "local-stamp",
    why: "garbage stamped with the sequence this thread saw last instead of the global one",
    file: "cblist.ts",
    find: "const stamp = gpStamp(); // [B]",
    replace: "const stamp = seqSnap(i32[slotBase(slot) + 44]!);\n//",
    options: { cpus: 3, readers: 2, updaters: 1, chores: ["sleeper"] },
  },
  {
    name: "nested-enter",
    why: "a nested enter that starts a new epoch for its thread",
    file: "scope.ts",
    find: "  nest[0]!++;",
    replace: "  nest[0] = 1;",
  },
  {
    name: "late-report",
    why: "a report for one grace period credited to the next",
    file: "grace-period.ts",
    find: "if (value !== seq && value !== LINE_IDLE) return false;",
    replace: "if (value !== seq && value !== seq - 4 && value !== LINE_IDLE) return false;",
  },
  {
    name: "one-boundary",
    why: "callbacks run at the end of the grace period in progress when they need the one after it",
    file: "grace-period.ts",
    find: "((seq + 2 * STATE_MASK + 1) & ~STATE_MASK) | 0",
    replace: "((seq + STATE_MASK + ((seq & 3) === 0 ? 4 : 0)) & ~STATE_MASK) | 0",
  },
  {
    name: "idle-late",
    why: "idle marked after sleeping instead of before",
    file: "grace-period.ts",
    find: "Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]",
    replace: "// asleep already",
  },
  {
    name: "stamp-early",
    why: "the counter read before the publish that it must follow (Starnix shipped it)",
    file: "torture/updater.ts",
    find: "    const old = Control.current.exchange(control, fresh);\n    const cookie = startPollSynchronizeRcu();",
    replace:
      "    const cookie = startPollSynchronizeRcu();\n    Control.stop.wait(control, 0, 1);\n    const old = Control.current.exchange(control, fresh);",
    options: { cpus: 3, readers: 2, updaters: 1, chores: ["sleeper"] },
  },
  {
    name: "update-by-reinsert",
    why: "a reader misses a key while it is being updated",
    file: "keyed-table.ts",
    find:
      "      const old = Atomics.exchange(i32, found + NODE_VALUE, word); // [A]\n" +
      "      if (old !== word) this.valueLeft(old);\n      return UPDATED;",
    replace: "      this.takeNode(found);",
    options: { cpus: 3, readers: 2, updaters: 1, chores: ["sleeper"] },
  },
  {
    name: "last-slot-forgotten",
    why: "the scan for lagging readers stops one slot early",
    file: "grace-period.ts",
    find: "for (let of = 0; of < high; of++, line += SLOT.WORDS) {",
    replace: "for (let of = 0; of < high - 1; of++, line += SLOT.WORDS) {",
  },
  {
    name: "first-report-ends",
    why: "the first CPU that reports ends the grace period, not the last",
    file: "grace-period.ts",
    find: "if (value !== seq && value !== LINE_IDLE) return false;",
    replace: "if (value === seq) break;\n    if (value !== LINE_IDLE) return false;",
  },
  {
    name: "active-unmarked",
    why: "leaving idle does not mark the CPU as one that reads",
    file: "grace-period.ts",
    find: "Atomics.store(i32, base + SLOT_RCU.LINE, LINE_ACTIVE); // [G]",
    replace: "//",
  },
  {
    name: "free-at-once",
    why: "kfreeRcu frees without waiting",
    file: "callback.ts",
    find: "  markDying(ref);\n  enqueue(ref);\n}\n/** kfreeRcu for an array",
    replace: "  freeCell(cacheOf(type), ref);\n}\n/** kfreeRcu for an array",
  },
  {
    name: "barrier-noop",
    why: "barrier waits for a grace period instead of for the callbacks",
    file: "synchronize.ts",
    find: "  awaitRun(lists, counts);",
    replace: "  if (lists.length >= 0) return;\n  awaitRun(lists, counts);",
  },
  {
    name: "orphans-lost",
    why: "the callbacks of a thread that leaves are forgotten",
    file: "orphan.ts",
    find: "  if (count > 0) adopt(list, count);",
    replace: "  if (count > 0) forget(list);",
  },
  {
    name: "publish-plain",
    why: "publishing by a plain store, which may still be in the store buffer when the stamp is taken",
    file: "fields.ts",
    find: "  assign(_held: Held, ref: Ref<N>, value: Ptr<T>): void {\n    Atomics.store(i32, ref + this.offset, value);",
    replace: "  assign(_held: Held, ref: Ref<N>, value: Ptr<T>): void {\n    i32[ref + this.offset] = value;",
    options: { cpus: 0, readers: 0, updaters: 0, chores: ["litmus", "sleeper"] },
  },
  {
    name: "preempted-forgotten",
    why: "a task that was switched out inside a read scope does not block the grace period",
    file: "preempt.ts",
    find: "if (Atomics.load(i32, RCU.PREEMPT_COUNT) === 0) return false;",
    replace: "if (Atomics.load(i32, RCU.PREEMPT_COUNT) >= 0) return false;",
    flavour: "preempt",
    options: { chores: ["sleeper"] },
  },
  {
    name: "srcu-one-bank",
    why: "SRCU waits for the bank that is not current only, not for the one that was",
    file: "srcu-gp.ts",
    find: "if ((seq & 3) !== 3 && !empty(ref, bank ^ 1)) return false;",
    replace: "if ((seq & 3) === 1 && !empty(ref, bank ^ 1)) return false;",
    flavour: "srcu",
  },
  {
    name: "tasks-any-switch",
    why: "Tasks RCU takes every task for asleep",
    file: "tasks.ts",
    find: "late = seen !== ASLEEP && (seen === AWAKE || ((seen - goal) | 0) < 0);",
    replace: "late = seen === -2;",
    flavour: "tasks",
    options: { chores: ["sleeper"] },
  },
  {
    name: "tasks-seq-unmoved",
    why: "a grace period of Tasks RCU that begins without a number of its own: tasks have passed it already",
    file: "tasks.ts",
    find: "return (Atomics.add(i32, RCU.TASKS_SEQ, STEP) + STEP) | 0;",
    replace: "return Atomics.load(i32, RCU.TASKS_SEQ);",
    flavour: "tasks",
    options: { chores: ["sleeper"] },
  },
  {
    name: "barrier-tasks-early",
    why: "the barrier of Tasks RCU forgets callbacks that still wait for their grace period of RCU",
    file: "tasks.ts",
    find: "  rcuBarrier(); // All are on the list of Tasks RCU,",
    replace: "  //",
    flavour: "tasks",
    options: { chores: ["sleeper"] },
  },
  {
    name: "turn-never-begins",
    why: "a thread in its event loop reads without having left idle",
    file: "domain.ts",
    find: "      rcuIdleExit();\n      this.#stayOnline();",
    replace: "      setNesting(0);\n      this.#stayOnline();",
    flavour: "domain",
    options: { chores: ["sleeper"] },
  },
  {
    name: "stall-unnamed",
    why: "a stall is reported without the thread that holds the grace period up",
    file: "stall.ts",
    find: "thread: i32[slotBase(slot) + SLOT.THREAD]!,",
    replace: "thread: 0,",
  },
  {
    name: "stall-task-unseen",
    why: "a stall by a task that was switched out in its scope is not reported: no CPU lags behind",
    file: "stall.ts",
    find: "const blocked = rcuBlockedTasks().map((record)",
    replace: "const blocked = [].map((record)",
  },
  {
    name: "stall-srcu-unseen",
    why: "a stall of an Srcu is reported without the thread whose scope is open, which is not at all",
    file: "srcu-domain.ts",
    find: "const scopes = openOf(ref, of);\n    if (scopes > 0)",
    replace: "const scopes = openOf(ref, of);\n    if (scopes > 1)",
    flavour: "srcu",
  },
  {
    name: "stall-tasks-unnamed",
    why: "a stall of Tasks RCU is reported with another thread than the one that the task last ran on",
    file: "tasks.ts",
    find: "slot: ownerSlot(Member.owner.peek(member)),",
    replace: "slot: Member.owner.peek(member) & 0xff,",
    flavour: "tasks",
  },
  {
    name: "srcu-hands-lost",
    why: "callbacks that a thread had in its hands when it died still count as waiting: barriers wait for ever",
    file: "srcu-gp.ts",
    find: "      mendCallbacks(ref);\n",
    replace: "",
    flavour: "srcu",
    modelOnly: "a thread must be terminated within a few instructions",
  },
  {
    name: "srcu-count-passed",
    why: "a reader of an Srcu reads by plain loads that may pass the store of the addition by which it counted itself",
    file: "srcu.ts",
    find: "    if (!IN_ORDER) Atomics.load(i32, word); // [S]",
    replace: "    //",
    flavour: "srcu",
    modelOnly: "it shows on arm64 without LSE",
  },
  {
    name: "srcu-fast-no-grace",
    why: "fast readers of an Srcu are counted without waiting for a grace period of RCU, which makes their counts visible",
    file: "srcu-gp.ts",
    find: "if (fast && !seqDone(gpSeq(), Domain.grace.load(ref))) return false;",
    replace: "//",
    modelOnly: "it shows when a count waits in a store buffer",
  },
  {
    name: "srcu-fast-idle",
    why: "a thread that is idle, for which no grace period waits, counts itself plainly",
    file: "srcu.ts",
    find: "if (this.checked || rcuNesting() < 0 || slot < 0)",
    replace: "if (this.checked || slot < 0)",
    modelOnly: "it shows when a count waits in a store buffer",
  },
  {
    name: "lanes-unsettled",
    why: "what fast readers of an Srcu have counted in lanes stays there when their thread goes idle",
    file: "grace-period.ts",
    find: "  settleLanes();\n  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]",
    replace: "  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]",
    modelOnly: "torture's readers of an Srcu are no fast ones",
  },
  {
    name: "lanes-settled-late",
    why: "what fast readers of an Srcu have counted in lanes is in the heap after its thread has gone idle, not before",
    file: "grace-period.ts",
    find: "  settleLanes();\n  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]",
    replace: "  Atomics.store(i32, base + SLOT_RCU.LINE, LINE_IDLE); // [H]\n  settleLanes();",
    modelOnly: "torture's readers of an Srcu are no fast ones",
  },
  {
    name: "announce-plain",
    why: "a scope is announced by a plain store, which the loads in it may pass",
    file: "grace-period.ts",
    find: "  Atomics.store(words, line, LINE_ACTIVE); // As [G].",
    replace: "  words[line] = LINE_ACTIVE;",
    modelOnly: "torture's domains are no announcing ones",
  },
  {
    name: "announce-passed",
    why: "an announced scope begins without an atomic load, on a machine that does not keep order",
    file: "grace-period.ts",
    find: "const seq = IN_ORDER ? words[RCU.GP_SEQ]! : Atomics.load(words, RCU.GP_SEQ);\n  // The scope",
    replace: "const seq = words[RCU.GP_SEQ]!;\n  // The scope",
    modelOnly: "it shows on arm64",
  },
  {
    name: "shelf-ready",
    why: "what is taken from a shelf counts as having waited for its grace period already",
    file: "shelf.ts",
    find: "      if (last === 0) words[orphans + CBLIST.NEXT] = first;",
    replace:
      "      if (words[orphans] === 0) { words[orphans] = first; words[orphans + 1] = first; }\n      else if (last === 0) words[orphans + CBLIST.NEXT] = first;",
    modelOnly: "torture offloads nothing",
  },
  {
    name: "shelf-push-plain",
    why: "a callback is put on a shelf by a plain store of its head, while another thread empties it",
    file: "shelf.ts",
    find: "    if (Atomics.compareExchange(words, shelf, head, cell) === head) return head === 0;",
    replace: "    words[shelf] = cell;\n    return head === 0;",
    modelOnly: "torture offloads nothing",
  },
  {
    name: "shelf-cut-all",
    why: "who takes a shelf takes its newest callback with the rest, though its owner may have put another on it",
    file: "shelf.ts",
    find: "if (Atomics.compareExchange(words, shelf, first, 0) === first) {",
    replace: "Atomics.store(words, shelf, 0);\n    {",
    modelOnly: "torture offloads nothing",
  },
  {
    name: "replace-by-removal",
    why: "a node is taken off its list before the one that replaces it is put there: a walk misses both",
    file: "list-node.ts",
    find: "  Atomics.store(i32, prev, fresh); // [A]",
    replace: "  Atomics.store(i32, prev, next);\n  Atomics.store(i32, prev, fresh);",
    modelOnly: "torture walks no lists",
  },
  {
    name: "splice-at-once",
    why: "a list is joined to another without waiting for those who walk it: they do not find its end",
    file: "list-node.ts",
    find: "  wait();\n",
    replace: "",
    modelOnly: "torture walks no lists",
  },
  {
    name: "append-cuts-first",
    why: "entries leave their list before they are on the other one: a walk of both misses them",
    file: "list.ts",
    find:
      '      this.#list.appendLocked(this.#copies(old, "append"));\n' +
      "      other.#list.cutLocked(old[0]!);",
    replace:
      '      const copies = this.#copies(old, "append");\n' +
      "      other.#list.cutLocked(old[0]!);\n      this.#list.appendLocked(copies);",
    modelOnly: "torture walks no lists",
  },
  {
    name: "append-plain",
    why: "nodes are put on a list by a plain store: a walk finds them, and not what is in them",
    file: "list-node.ts",
    find: "  Atomics.store(i32, last, nodes[0]!); // [A]",
    replace: "  i32[last] = nodes[0]!;",
    modelOnly: "torture walks no lists",
  },
  {
    name: "cut-unlinks",
    why: "nodes that are cut off lose their next pointers: a walk that stands on one goes nowhere",
    file: "list-node.ts",
    find: "    i32[node + 1] = 0;\n    visit(node);",
    replace: "    i32[node] = head;\n    visit(node);",
    modelOnly: "torture walks no lists",
  },
  {
    name: "llist-add-plain",
    why: "a node is put at the front of a list by a plain store: another that was added meanwhile is lost",
    file: "llist.ts",
    find: "const seen = Atomics.compareExchange(i32, head, first, node);",
    replace: "const seen = first;\n    i32[head] = node;",
    modelOnly: "torture has no llist",
  },
  {
    name: "percpu-ref-sums-early",
    why: "the words of a count are added up when it is killed, while threads may still count in them",
    file: "percpu-ref.ts",
    find: "    callRcu(sumUp, this.ref);",
    replace: "    sumUp.run(this.ref);",
    modelOnly: "a count must be taken within a few instructions of the kill",
  },
  {
    name: "sync-enter-at-once",
    why: "a writer does not wait for the readers that go the short way",
    file: "sync.ts",
    find: "    condSynchronizeRcu(cookie);\n",
    replace: "    if (cookie === -1) condSynchronizeRcu(cookie);\n",
    modelOnly: "torture has no readers of RcuSync",
  },
  {
    name: "sync-idle-at-once",
    why: "readers go the short way as soon as the writer has left, and may not see what it wrote",
    file: "sync.ts",
    find: "Sync.state.store(this.ref, LEAVING);",
    replace: "Sync.state.store(this.ref, IDLE);",
    modelOnly: "it shows on machines that reorder loads, which x86 does not",
  },
  {
    name: "rwsem-no-wait",
    why: "a writer does not wait for the readers that are in",
    file: "percpu-rwsem.ts",
    find: "if (Atomics.load(i32, word) === 0) continue;",
    replace: "if (Atomics.load(i32, word) !== -1) continue;",
    modelOnly: "torture has no semaphore",
  },
  {
    name: "rwsem-blind-reader",
    why: "a reader on the long way does not look for a writer",
    file: "percpu-rwsem.ts",
    find: "const writer = Sem.writer.load(this.ref); // [P]",
    replace: "const writer = 0;",
    modelOnly: "torture has no semaphore",
  },
  {
    name: "resize-loses-readers",
    why: "a growing table rewrites the links that its readers follow",
    file: "hash-table.ts",
    find: "const newLink = oldLink ^ 1;",
    replace: "const newLink = oldLink;",
  },
  {
    name: "relink-too-soon",
    why: "a growing table rewrites links that readers of the table before the last one may follow",
    file: "hash-table.ts",
    find: "const relinks = relinkAfter === -1 || seqDone(gpSeq(), relinkAfter);",
    replace: "const relinks = relinkAfter === -1 || seqDone(gpSeq(), gpSeq());",
    modelOnly: "torture's map grows once in a while only",
  },
  {
    name: "copied-nodes-freed",
    why: "the nodes that a growing table has copied are freed at once, under its readers",
    file: "hash-table.ts",
    find: "kfreeCellRcu(node); // [B]",
    replace: "free(this.node, node as Ref<string>);",
    modelOnly: "torture's map grows once in a while only",
  },
  {
    name: "lock-free-link-plain",
    why: "a node is linked in by a plain store, over what another thread has linked there",
    file: "split-list.ts",
    find: "return Atomics.compareExchange(i32, at, next, node) === next;",
    replace: "i32[at] = node;\n    return true;",
    modelOnly: NO_LOCK_FREE,
  },
  {
    name: "lock-free-replace-removes",
    why: "a key that is replaced is gone before its new node is there",
    file: "split-list.ts",
    find: "const seen = Atomics.compareExchange(i32, node, next, fresh | REMOVED); // [A]",
    replace:
      "const seen = Atomics.compareExchange(i32, node, next, next | REMOVED);\n      if (seen === next) Atomics.store(i32, node, fresh | REMOVED);",
    modelOnly: NO_LOCK_FREE,
  },
  {
    name: "lock-free-no-help",
    why: "what another thread has marked stays linked until that unlinks it, and is inserted behind",
    file: "split-list.ts",
    find: "        if ((next & REMOVED) !== 0) {\n          if (Atomics.compareExchange(i32, at, node, next - REMOVED) !== node) continue again; // [A]\n          if ((i32[node + ORDER]! & 1) !== 0) this.retire(node); // [B] in kfreeRcu\n          node = next - REMOVED;\n          continue;\n        }\n",
    replace:
      "        if ((next & REMOVED) !== 0) {\n          at = node;\n          node = next - REMOVED;\n          continue;\n        }\n",
    modelOnly: NO_LOCK_FREE,
  },
  {
    name: "wait-free-unwoken",
    why: "who waits for a link is not told that it has come",
    file: "wait-free-queue.ts",
    find: "if (awaited !== 0) Atomics.notify(i32, last);",
    replace: "if (awaited === last) Atomics.notify(i32, last);",
    modelOnly: "torture has no queue",
  },
];

/** Code that a replacement needs and the original file does not import. */
const PROLOGUES: Record<string, string> = {
  "local-stamp":
    'import { seqSnap, slotBase } from "./grace-period.ts";\nimport { slot } from "./memory.ts";\n',
  "free-at-once": 'import { freeCell } from "./slab.ts";\n',
  "orphans-lost":
    "function forget(list: number): void {\n  for (let n = 0; n < 8; n++) i32[list + n] = 0;\n" +
    "  Atomics.store(i32, list + CBLIST.RUN, i32[list + CBLIST.QUEUED]!);\n}\n",
};

export function findMutant(name: string): Mutant {
  const mutant = MUTANTS.find((candidate) => candidate.name === name);
  if (mutant === undefined)
    throw new Error(`no mutant ${name}: one of ${MUTANTS.map((known) => known.name).join(", ")}`);
  return mutant;
}

/** The mutated text of the mutant's file. Throws when the text to replace is not there exactly once. */
export function mutate(mutant: Mutant, source: string): string {
  const parts = source.split(mutant.find);
  if (parts.length !== 2)
    throw new Error(
      `mutant ${mutant.name}: the text to replace is ${parts.length - 1} times in ${mutant.file}`,
    );
  return parts.join(mutant.replace) + (PROLOGUES[mutant.name] ?? "");
}

/** Mutants exist in a source tree; a build is what users run, and has no hook. */
export const mutantsAvailable = import.meta.url.endsWith(".ts");

/** Makes this thread load the mutated file from here on: before anything of rcu/ is imported. */
export function installMutant(name: string): void {
  const mutant = findMutant(name);
  const url = new URL(`../${mutant.file}`, import.meta.url).href;
  if (!mutantsAvailable) throw new Error(`mutant ${name}: mutants exist in a source tree only`);
  modules.registerHooks({
    load(address, context, next) {
      const loaded = next(address, context);
      if (address !== url) return loaded;
      return { ...loaded, source: mutate(mutant, String(loaded.source)) };
    },
  });
}
