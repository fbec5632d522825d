/**
 * What a system-call handler may return besides its result. A result is a 64-bit integer, signed or not: it lies between -2^63 and
 * 2^64, often where a program chose (F_GETOWN, lseek). All of these codes lie below -2^63, so no result can be taken for one.
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
export const BLOCK = -(2 ** 64);
/** Run again; the call fails with EINTR whenever a signal handler runs: nanosleep, poll, epoll_wait, sigsuspend. */
export const BLOCK_EINTR = -(2 ** 65);
/** Run again; only a fatal signal ends the wait (vfork's parent, execve waiting for its threads). */
export const BLOCK_KILLABLE = -(2 ** 66);
/** The handler replaced pc and registers itself (execve, rt_sigreturn): store no result, advance no pc. */
export const NO_RETURN = -(2 ** 67);
/** The task is to exit with the code that Task.exitCode holds: exit, exit_group. */
export const EXIT_TASK = -(2 ** 68);

/** Run again, as soon as others have had the CPU: a part is done, and the task knows how much (yield.ts). */
export const YIELD = -(2 ** 69);

/** Whether the result means that the call will run again. */
export const isBlock = (result: number): boolean =>
  (result <= BLOCK && result >= BLOCK_KILLABLE) || result === YIELD;
/** Whether the result is for the CPU loop rather than for user mode. */
export const isControl = (result: number): boolean => result <= BLOCK;
