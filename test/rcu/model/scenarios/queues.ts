/** Queues and a stack without a lock: what two or three CPUs put in and take out at once. */
import type { RcuLockFreeQueue, RcuLockFreeStack, WaitFreeQueue } from "../../../../rcu/index.ts";
import type { Cpu, Library, Scenario } from "../scenario.ts";

const NONE = -1;

type Line = RcuLockFreeQueue | RcuLockFreeStack | WaitFreeQueue;
type Actor<L extends Line> = (lib: Library, line: L, cpu: Cpu) => void;

/**
 * A line with these values, and CPUs that use it at once. Every value that was put in was taken out by one of them, as a note says, or is
 * in it at the end: `values` finds those.
 */
function together<L extends Line>(
  name: string,
  about: string,
  open: (lib: Library, at?: number) => L,
  put: (line: L, value: number) => void,
  values: (word: (at: number) => number, ref: number) => number[],
  before: readonly number[],
  actors: readonly Actor<L>[],
  allowed: readonly string[],
  more: Partial<Scenario> = {},
): Scenario {
  return {
    name,
    about,
    models: ["tso", "weak"],
    ...more,
    build(lib) {
      const shared = open(lib);
      for (const value of before) put(shared, value);
      return {
        stock: ["rcu_link_node", "rcu_head"],
        cpus: actors.map((act) => ({
          boot: (lib: Library): L => open(lib, shared.ref),
          run(lib: Library, cpu: Cpu, line: L) {
            act(lib, line, cpu);
            lib.goIdle();
          },
        })),
        judge(notes, word) {
          const taken = [...notes].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
          const came = `${taken.join(" ")} | ${values(word, shared.ref).join(" ")}`;
          return allowed.includes(came) ? null : `taken and left: ${came}`;
        },
      };
    },
  };
}
/** Along links; at most ten. */
function chain(word: (at: number) => number, first: number): number[] {
  const values: number[] = [];
  for (let node = first; node !== 0 && values.length < 10; node = word(node)) values.push(word(node + 1));
  return values;
}

const openQueue = (lib: Library, at?: number): RcuLockFreeQueue =>
  at === undefined ? new lib.RcuLockFreeQueue() : new lib.RcuLockFreeQueue({ at });
const queue = (
  name: string,
  about: string,
  before: readonly number[],
  actors: readonly Actor<RcuLockFreeQueue>[],
  allowed: readonly string[],
  more?: Partial<Scenario>,
): Scenario =>
  together(
    `RcuLockFreeQueue, ${name}`,
    about,
    openQueue,
    (line, value) => line.enqueue(value),
    (word, ref) => chain(word, word(word(ref))),
    before,
    actors,
    allowed,
    more,
  );
const enqueues =
  (value: number): Actor<RcuLockFreeQueue> =>
  (_lib, line) =>
    line.enqueue(value);
const dequeues =
  (note: string): Actor<RcuLockFreeQueue> =>
  (_lib, line, cpu) =>
    cpu.note(note, line.dequeue() ?? NONE);

const openStack = (lib: Library, at?: number): RcuLockFreeStack =>
  at === undefined ? new lib.RcuLockFreeStack() : new lib.RcuLockFreeStack({ at });
const stack = (
  name: string,
  about: string,
  before: readonly number[],
  actors: readonly Actor<RcuLockFreeStack>[],
  allowed: readonly string[],
): Scenario =>
  together(
    `RcuLockFreeStack, ${name}`,
    about,
    openStack,
    (line, value) => line.push(value),
    (word, ref) => chain(word, word(ref)),
    before,
    actors,
    allowed,
  );

const openWaitFree = (lib: Library, at?: number): WaitFreeQueue =>
  at === undefined ? new lib.WaitFreeQueue() : new lib.WaitFreeQueue({ at });
const waitFree = (
  name: string,
  about: string,
  before: readonly number[],
  actors: readonly Actor<WaitFreeQueue>[],
  allowed: readonly string[],
): Scenario =>
  together(
    `WaitFreeQueue, ${name}`,
    about,
    openWaitFree,
    (line, value) => void line.enqueue(value),
    (word, ref) => chain(word, word(ref)),
    before,
    actors,
    allowed,
  );

export const QUEUES: readonly Scenario[] = [
  queue(
    "two put in",
    "both values are in it, in one order or the other",
    [1],
    [enqueues(2), enqueues(3)],
    [" | 1 2 3", " | 1 3 2"],
  ),
  queue(
    "the last one is taken out while one is put in",
    "the end is never at a node that is gone",
    [1],
    [enqueues(2), dequeues("a")],
    ["1 | 2"],
  ),
  queue(
    "it is emptied while one is put in",
    "nothing is lost where the end lags behind",
    [],
    [
      enqueues(2),
      (lib, line, cpu) => {
        dequeues("a")(lib, line, cpu);
        lib.rcuQuiescent();
        lib.rcuRunCallbacks();
        line.enqueue(3); // In the memory of a dummy that is gone, perhaps.
      },
    ],
    ["-1 | 2 3", "-1 | 3 2", "2 | 3"],
  ),
  queue(
    "two take out",
    "each value goes to one of them",
    [1, 2],
    [dequeues("a"), dequeues("b")],
    ["1 2 | ", "2 1 | "],
  ),
  stack(
    "one pops while the top goes and another comes back",
    "a delayed compare-and-swap takes no node for the one that it has seen",
    [1, 2],
    [
      (_lib, line, cpu) => cpu.note("a", line.pop() ?? NONE),
      (lib, line, cpu) => {
        cpu.note("b", line.pop() ?? NONE);
        cpu.note("c", line.pop() ?? NONE);
        lib.rcuQuiescent();
        lib.rcuRunCallbacks();
        line.push(3);
      },
    ],
    ["2 1 -1 | 3", "1 2 -1 | 3", "-1 2 1 | 3", "3 2 1 | "],
  ),
  stack(
    "all is taken while one pushes and pops",
    "each value is taken once",
    [1],
    [
      (_lib, line, cpu) => {
        line.push(2);
        cpu.note("a", line.pop() ?? NONE);
      },
      (_lib, line, cpu) =>
        cpu.note(
          "b",
          line.popAll().reduce((sum, value) => sum * 10 + value, 0),
        ),
    ],
    ["2 1 | ", "-1 21 | ", "2 1 | "],
  ),
  waitFree(
    "two put in while one takes out",
    "it waits for a link that is just coming, and is woken",
    [],
    [
      (_lib, line) => void line.enqueue(1),
      (_lib, line) => void line.enqueue(2),
      (_lib, line, cpu) => cpu.note("a", line.dequeue() ?? NONE),
    ],
    ["-1 | 1 2", "-1 | 2 1", "1 | 2", "2 | 1"],
  ),
  waitFree(
    "the last one is taken out while one is put in",
    "that one is found, or the queue is empty",
    [1],
    [(_lib, line) => void line.enqueue(2), (_lib, line, cpu) => cpu.note("a", line.dequeue() ?? NONE)],
    ["1 | 2"],
  ),
  waitFree(
    "without waiting",
    "who may not wait is told so, and changes nothing",
    [1],
    [
      (_lib, line) => void line.enqueue(2),
      (lib, line, cpu) => {
        const value = line.tryDequeue();
        cpu.note("a", value === lib.WOULD_BLOCK ? 0 : ((value as number | undefined) ?? NONE));
      },
    ],
    ["1 | 2", "0 | 1 2"],
  ),
  waitFree(
    "it is moved to another one",
    "all of it, in one step",
    [1],
    [
      (_lib, line) => void line.enqueue(2),
      (lib, line, cpu) => {
        const other = new lib.WaitFreeQueue();
        other.enqueue(5);
        other.splice(line);
        cpu.note("a", other.dequeue() ?? NONE);
        cpu.note("b", other.dequeue() ?? NONE);
        cpu.note("c", other.dequeue() ?? NONE);
      },
    ],
    ["5 1 -1 | 2", "5 1 2 | "],
  ),
];
