/**
 * What a system-call handler may return besides a value >= 0 and -errno. All lie below every errno.
 *
 * After BLOCK the pc stays on the ecall, and the call runs again from its start when the task wakes. Nothing is kept on
 * a JavaScript stack. The pattern of a handler that waits:
 *
 *   for (;;) {
 *     try; done -> return result
 *     if (O_NONBLOCK) return -EAGAIN;
 *     if (waitOn(queue) < 0) return -ENOMEM;
 *     try again; done -> return result       // closes the race with a wake-up before waitOn
 *     return BLOCK;
 *   }
 */
/** Run again; a signal handler restarts the call if it has SA_RESTART, else the call fails with EINTR. */
export const BLOCK = -5001;
/** Run again; the call fails with EINTR whenever a signal handler runs: nanosleep, poll, epoll_wait, sigsuspend. */
export const BLOCK_EINTR = -5002;
/** Run again; only a fatal signal ends the wait (vfork's parent, execve waiting for its threads). */
export const BLOCK_KILLABLE = -5003;
/** The handler replaced pc and registers itself (execve, rt_sigreturn): store no result, advance no pc. */
export const NO_RETURN = -5004;
/** The task is to exit with the code that Task.exitCode holds: exit, exit_group. */
export const EXIT_TASK = -5005;

/** Run again, as soon as others have had the CPU: a part is done, and the task knows how much (yield.ts). */
export const YIELD = -5006;

/** Whether the result means that the call will run again. */
export const isBlock = (result: number): boolean =>
  (result <= BLOCK && result >= BLOCK_KILLABLE) || result === YIELD;
/** Whether the result is for the CPU loop rather than for user mode. */
export const isControl = (result: number): boolean => result <= BLOCK;
