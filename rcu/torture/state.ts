/** What the threads of a torture run share: in the heap, like everything they test. */
import { atomic, fixed, owned, type Ref, rcu, spinlock, struct, words } from "../index.ts";
import { PREEMPT_WORDS } from "../kernel.ts";

/** Whose readers and updaters: the kernel's CPUs, tasks preempted in their scopes, SRCU, Tasks RCU, event-loop domains. */
export const FLAVOURS = ["qsbr", "preempt", "srcu", "tasks", "domain"] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** Ways to fail, counted by all threads. */
export const FAILURES = [
  "reader held an element older than one grace period",
  "reader saw an element before it was initialised",
  "reader's element changed under it",
  "cookie taken inside a reader was done before it left",
  "reader missed a key of the map",
  "barrier returned before all callbacks had run",
  "callbacks made no progress",
  "a grace period waited for an idle thread",
  "synchronize returned before its grace period",
  "a deliberate stall was not reported",
  "a stall report left out the thread or task that stalled",
  "litmus test RCU+sync+free: a reader held an element whose grace period was over",
] as const;
export const FAIL = {
  AGE: 0,
  INIT: 1,
  CHANGED: 2,
  COOKIE: 3,
  MISS: 4,
  BARRIER: 5,
  PROGRESS: 6,
  IDLE: 7,
  EARLY: 8,
  STALL: 9,
  UNNAMED: 10,
  LITMUS: 11,
} as const;

/** Ages that the histogram tells apart: 0 published, 1 just removed, 2 and more a mistake. */
export const AGES = 8;

export const Element = struct("torture_element", {
  // Written before publication.
  valid: fixed(),
  // 0 while published, then counts grace periods; readers look.
  age: atomic(),
  payload: words(4),
});

/** Tasks of the preempt flavour, and their read scopes. */
export const TASKS = 6;
export const Task = struct("torture_task", {
  record: words(PREEMPT_WORDS),
  // Of the thread that took the task from Control.tasks.
  element: owned(),
  reading: owned(),
});

/** Who may wait for a grace period ends first: a thread that died last of all still has to be reaped for them. */
export const STOP_ALL_BUT_REAPERS = 1;
export const STOP_ALL = 2;

export const Control = struct("torture_control", {
  current: rcu("torture_element"),
  updateLock: spinlock(),
  /** 0 while the run lasts, then STOP_ALL_BUT_REAPERS, then STOP_ALL. */
  stop: atomic(),
  ready: atomic(),
  map: fixed(),
  srcu: fixed(),
  /** Number of the flavour in FLAVOURS. */
  flavour: fixed(),
  tasks: words(TASKS),
  failures: words(FAILURES.length),
  ages: words(AGES),
  reads: atomic(),
  updates: atomic(),
  barriers: atomic(),
  floods: atomic(),
  sleeps: atomic(),
  hotplugs: atomic(),
  exits: atomic(),
  /** threadId of a thread that is to be reaped; 0: none. */
  dead: atomic(),
  /** Rounds of the litmus pair. */
  litmus: atomic(),
  /** The thread that stalls on purpose: slot + 1 and threadId; or the task, the record of its scope. 0: nobody does. */
  stallSlot: atomic(),
  stallThread: atomic(),
  stallTask: atomic(),
  /** The task that stalls. */
  stallRecord: fixed<Ref<"torture_task">>(),
  /** Set by whoever reports the stall: 1 named it, 2 did not. */
  stallReported: atomic(),
  /** Deliberate stalls that were reported, and stall reports of any kind. */
  stalls: atomic(),
  warnings: atomic(),
  /** Callbacks run, as counted by the barrier thread's reclaimer. */
  counted: atomic(),
  flooded: atomic(),
  migrated: atomic(),
});

/** Keys below this are in the map for the whole run: a reader that misses one has found a bug. */
export const FIRM_KEYS = 64;
