/**
 * Tasks, thread groups and credentials: what they hold, and who may touch which field.
 *
 * "Owner" of a task is the CPU on which it is current, or its creator before it is published. Others read an
 * owned field only where a stale value does no harm (ps, /proc).
 */
import {
  atomic,
  bytes,
  fixed,
  listNode,
  locked,
  owned,
  type Ref,
  rcu,
  spinlock,
  struct,
  wide,
  words,
} from "../../rcu/index.ts";

/** Task.state. */
export const TASK_RUNNING = 1;
/** On a CPU, in a handler that has queued it (waitOn): a wake-up puts it back to RUNNING, BLOCK makes it SLEEPING. */
export const TASK_WAITING = 2;
export const TASK_SLEEPING = 3;
/** On a run queue. */
export const TASK_RUNNABLE = 4;
/** Stopped by a job-control signal: only SIGCONT and SIGKILL end it. */
export const TASK_STOPPED = 5;
/** Made, not yet started. */
export const TASK_NEW = 6;
export const TASK_ZOMBIE = 7;
export const TASK_DEAD = 8;

/** Task.kind: which user mode runs it. The index into the engines of a CPU. */
export const KIND_RISCV64 = 0;
export const KIND_PROGRAM = 1;

/** Bits of Task.work: reasons to leave user mode (Linux's TIF flags). */
export const WORK_SIGNAL = 1;
/** The signal mask is to be put back from savedMask when the call ends (sigsuspend, ppoll, ...). */
export const WORK_RESTORE_MASK = 2;
/** The first run of a spawned task: load its program. */
export const WORK_SPAWN = 4;
/** The kernel's heap ran short while the task worked: see to it (task/memory.ts). */
export const WORK_MEMORY = 16;
/** It exits, and gives back its memory and descriptors in parts before that (task/tidy.ts). */
export const WORK_EXIT = 32;
/** Work that is done in parts is left (task/tidy.ts). */
export const WORK_TIDY = 64;
/** The first run of a new thread or process: store its id (CLONE_CHILD_SETTID). */
export const WORK_CHILD_TID = 8;

/** Bits of Task.flags, owned. */
export const TASK_EXITING = 1;
/** vfork child whose parent waits. */
export const TASK_VFORK = 2;
/** Has not called execve since fork (setpgid(2): EACCES afterwards). */
export const TASK_FORKNOEXEC = 4;
/** prctl PR_SET_NO_NEW_PRIVS: set-user-ID programs give nothing, for this task and all it makes. */
export const TASK_NO_NEW_PRIVS = 16;
/** prctl PR_SET_KEEPCAPS: giving up the last user id of root keeps the permitted capabilities. Until execve. */
export const TASK_KEEP_CAPS = 64;
/** The last part of its exit has begun, which cannot be done twice. */
export const TASK_LEAVING = 32;

/** A thread: what the scheduler runs. */
export const Task = struct("task", {
  // Constant after publication.
  /** Thread group (process). */
  group: fixed<Ref<"group">>(),
  tgid: fixed(),
  /** Monotonic nanoseconds at which it was made. */
  startTime: wide(),

  // Any CPU, any time.
  /** Thread id. Changes once at most, when a thread that is not the leader calls execve. */
  pid: owned(),
  state: atomic(),
  /** Work to do before user mode goes on: WORK_*. */
  work: atomic(),
  /** CPU on which it runs, or ran last. */
  cpu: atomic(),
  /** CPUs on which it may run: one bit each. */
  affinity: words(2),
  nice: atomic(),
  /** sched_setscheduler(2): remembered, and without effect on how it runs. */
  policy: atomic(),
  rtPriority: atomic(),

  // The lock of the run queue that holds it.
  runNode: listNode(),

  // Replaced whole; the owner reads them at once, others in a read scope.
  mm: rcu("mm"),
  files: rcu("files"),
  fs: rcu("fsinfo"),
  cred: rcu("cred"),

  // Owner only.
  kind: owned(),
  flags: owned(),
  /** Register file: byte address in RAM. */
  regs: wide(),
  comm: bytes(16),
  /** Wait status with which the task exits: code << 8, or the signal. */
  exitCode: owned(),
  /** What it has put off (sched/later.ts): the first. */
  later: owned<Ref<"later"> | 0>(),
  /** After execve: close-on-exec descriptors from this one less 1 on are still open; 0: none is. */
  closingFrom: owned(),
  clearChildTid: wide(),
  /** CLONE_CHILD_SETTID: where the new task stores its id when it first runs. */
  setChildTid: wide(),
  robustList: wide(),
  /** prctl(PR_SET_PDEATHSIG). */
  deathSignal: owned(),
  dumpable: owned(),
  personality: owned(),
  /** Asked to give way to who waits (sched_yield). */
  yielding: owned(),
  /** Times in a row that it waited soon after it woke another task (sched/handoff.ts). */
  handovers: owned(),
  timerSlack: wide(),

  // Owner only: of a TypeScript program (task/program.ts). What selects code of the host stands nowhere else.
  /** How it starts, or started: Ref<"program_start">, or 0. */
  program: owned(),
  /** Which of its engine's generators it runs; 0: it has not begun. */
  programToken: wide(),
  /** The token of the child that it is about to clone; 0: none. */
  programChild: wide(),
  /** What its signal handlers interrupted: Ref<"program_frame">, innermost first. */
  programFrames: owned(),

  // Owner only: the system call in progress.
  /** Wait queue entries of the call that blocks now: Ref<"wait_entry">, linked by WaitEntry.next. */
  waits: owned(),
  /** Non-zero while a call that returned BLOCK is to run again. */
  restarting: owned(),
  /** Which BLOCK value it returned. */
  blockKind: wide(),
  /** Absolute monotonic nanoseconds; 0 when not computed yet, Infinity for none. */
  restartDeadline: wide(),
  /** Where the time left of the deadline goes when a handler ends the call (nanosleep), or 0. */
  restartRemaining: wide(),
  /** What the call keeps for its next run, and what kind of thing that is (sched/restart.ts); 0 at its first run. */
  kept: owned(),
  keptKind: owned(),
  /** What subsystems saw of the call's memory (mm/seen.ts): Ref<"array">, 0 for nothing, -1 when there was no room to keep it. */
  seen: owned(),
  /** The copy of the descriptor table that the call makes in parts (fs/fd-copy.ts), or 0. */
  filesCopy: owned<Ref<"files"> | 0>(),
  /** Bytes that the call has moved in earlier runs (a stream write that waits for room): its result if a signal ends it. */
  partial: owned(),
  /** A second number that goes with `partial` (yieldWhole). */
  partialAlso: owned(),
  /** Since when memory is refused to it, in monotonic nanoseconds; 0: it is not (task/shortage.ts). */
  shortSince: wide(),
  /** Timer of blockUntil(): Ref<"timer">, made at first use. */
  sleepTimer: owned(),
  /** Pid of the vfork child that this task waits for; cleared by the child. */
  vforkChild: atomic(),
  /** In a vfork child: the task that waits for it. */
  vforkParent: atomic<Ref<"task"> | 0>(),

  // Owner only: the fault that user mode reported last (setFault).
  faultSignal: owned(),
  faultCode: owned(),
  /** Low and high word: all 64 bits reach si_addr. */
  faultAddress: words(2),

  // Signals. Group.lock for writers; the owner and racy readers need none.
  blocked: words(2),
  pending: words(2),
  /** Queued siginfo of `pending`: list of "sigqueue". */
  sigqueue: listNode(),
  savedMask: words(2),
  /** sigtimedwait: the set waited for while these signals are blocked. */
  waitMask: words(2),
  // Alternate stack, owner only.
  altStack: wide(),
  altStackSize: wide(),
  altStackFlags: owned(),

  // Group.lock.
  /** In Group.threads. */
  threadNode: listNode(),

  // Accounting: written by the owner, read by anybody. Nanoseconds.
  utime: wide(),
  stime: wide(),
  /** Voluntary and involuntary context switches. */
  nvcsw: owned(),
  nivcsw: owned(),
  minorFaults: owned(),
  majorFaults: owned(),
});

/** Group.flags. */
export const GROUP_EXITING = 1;
/** All threads are to stop or have stopped. */
export const GROUP_STOPPED = 2;
/** A stop that wait4(WUNTRACED) has not reported yet. */
export const GROUP_STOP_REPORT = 4;
/** A continuation that wait4(WCONTINUED) has not reported yet. */
export const GROUP_CONT_REPORT = 8;
export const GROUP_ZOMBIE = 16;
export const GROUP_SUBREAPER = 32;
/** execve kills the other threads. */
export const GROUP_EXEC = 64;
export const GROUP_DEAD = 128;

/** Number of resource limits (RLIM_NLIMITS). */
export const RLIM_NLIMITS = 16;

/** A process: threads that share pid, parent, signals and limits. */
export const Group = struct("group", {
  tgid: fixed(),

  // Any CPU, any time.
  flags: atomic(),
  leader: atomic<Ref<"task">>(),
  /** Threads that have not exited. */
  alive: atomic(),
  /** Threads that have not come to the end of the process in doExit: who takes it to 0 gives back what is the process's. */
  running: atomic(),
  sighand: atomic<Ref<"sighand">>(),
  /** Wait status of the whole group once GROUP_EXITING. */
  exitCode: atomic(),
  pgrp: atomic(),
  session: atomic(),
  /** The process that the host started and that this one descends from, itself or another: its pid. */
  origin: atomic(),
  /** Controlling terminal: a number that drivers/tty gives meaning to; 0 none. */
  tty: atomic(),
  /** The request of the host that started this group (machine/spawn.ts), or 0. */
  spawn: atomic<Ref<"spawn"> | 0>(),
  /** Signal sent to the parent at exit. */
  exitSignal: atomic(),
  /** oom_score_adj, and the least value that it may be set to without CAP_SYS_RESOURCE. */
  oomScoreAdj: atomic(),
  oomScoreAdjMin: atomic(),
  /** Resource limits: soft then hard, each low and high word. All ones: RLIM_INFINITY. */
  rlimits: words(RLIM_NLIMITS * 4),
  /** Where threads of this group wait for children: wait4. */
  childWait: words(4),
  /** Where execve waits for the other threads. */
  threadWait: words(4),
  /** Wait queues: woken when a signal was queued (signalfd), and when the group ended (pidfd). */
  signalWait: words(4),
  exitWait: words(4),

  // This lock: threads, signals. Taken inside the task list lock.
  lock: spinlock(65),
  threads: listNode(),
  pending: words(2),
  sigqueue: listNode(),
  /** SIGHUP, SIGINT, SIGQUIT and SIGTERM that were sent again while they were pending (word 0 of a set). */
  insisted: atomic(),
  /** Queued siginfos of the process and its threads. */
  sigqueued: locked("lock"),
  /** Threads that have stopped. */
  stopped: locked("lock"),
  stopSignal: locked("lock"),
  /** Interval timers: Ref<"itimer">, or 0; POSIX timers: list of "posix_timer". */
  itimer: words(3),
  posixTimers: listNode(),
  nextTimerId: locked("lock"),
  /** How many they are, and the table of their ids (time/posix-timer.ts). */
  nrTimers: locked("lock"),
  timerIds: locked<"lock", Ref<"array"> | 0>("lock"),

  // The task list lock (task/pid.ts).
  /** The other members of the process group. */
  pgrpNext: owned<Ref<"group"> | 0>(),
  pgrpPrevious: owned<Ref<"group"> | 0>(),
  parent: atomic<Ref<"group"> | 0>(),
  children: listNode(),
  sibling: listNode(),
  /** In the list of all groups. */
  allNode: listNode(),

  // Sums over threads that exited. Nanoseconds, KiB; task list lock.
  utime: wide(),
  stime: wide(),
  maxRss: wide(),
  minorFaults: wide(),
  majorFaults: wide(),
  nvcsw: wide(),
  nivcsw: wide(),
  // The same over children that were waited for, and theirs.
  childUtime: wide(),
  childStime: wide(),
  childMaxRss: wide(),
  childMinorFaults: wide(),
  childMajorFaults: wide(),
  childNvcsw: wide(),
  childNivcsw: wide(),
});

/** Credentials: immutable once published; setuid and friends publish a copy (credentials(7)). */
export const Cred = struct("cred", {
  refcount: atomic(),
  uid: fixed(),
  gid: fixed(),
  euid: fixed(),
  egid: fixed(),
  suid: fixed(),
  sgid: fixed(),
  fsuid: fixed(),
  fsgid: fixed(),
  /** What its real user has: counted, or 0. */
  user: fixed<Ref<"user"> | 0>(),
  /** Supplementary groups: Ref<"array"> or 0. */
  groups: fixed<Ref<"array"> | 0>(),
  /** Capability sets, low and high word each. */
  effective: words(2),
  permitted: words(2),
  inheritable: words(2),
  /** What stays over execve of a program without privileges; within permitted and inheritable. */
  ambient: words(2),
  /** What execve may give at most. */
  bounding: words(2),
});
