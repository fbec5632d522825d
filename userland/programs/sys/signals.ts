/** Signals, clocks and timers: sigaction(2), kill(2), nanosleep(2). */
import type { Steps } from "../program.ts";
import { type SignalHandler, timespecWords } from "./calls.ts";
import { EventCalls } from "./events.ts";

/** si_code of sigqueue(3), as the 32 bits of an int. */
const SI_QUEUE = 0xffffffff;

export abstract class SignalCalls extends EventCalls {
  kill(pid: number, signo: number): Steps<number> {
    return this.call("kill", pid, signo);
  }
  /** Queues a signal with a value, sigqueue(3): signals from SIGRTMIN up are delivered once per call. */
  sigqueue(pid: number, signo: number, value = 0): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      // siginfo_t: si_signo, si_errno, si_code and padding, then si_pid, si_uid, si_value.
      const info = scratch.putWords([signo, SI_QUEUE, 0, value, ...new Array<number>(12).fill(0)]);
      return yield* self.call("rt_sigqueueinfo", pid, signo, info);
    });
  }
  tgkill(tgid: number, tid: number, signo: number): Steps<number> {
    return this.call("tgkill", tgid, tid, signo);
  }
  /** Installs a handler, or "default" or "ignore". Flags: SA_*. */
  sigaction(signo: number, handler: SignalHandler | "default" | "ignore", flags = 0): Steps<number> {
    const self = this;
    const address =
      typeof handler === "function"
        ? this.hooks.handlerAddress(signo, handler)
        : handler === "ignore"
          ? 1
          : 0;
    return this.withScratch(function* (scratch) {
      return yield* self.call("rt_sigaction", signo, scratch.putWords([address, flags, 0]), 0, 8);
    });
  }
  /** `how`: 0 block, 1 unblock, 2 set; `mask`: bit n-1 for signal n. */
  sigprocmask(how: number, mask: number): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("rt_sigprocmask", how, scratch.putWords([mask]), 0, 8);
    });
  }
  /** Waits for a signal with this mask: -EINTR after its handler ran. */
  sigsuspend(mask = 0): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("rt_sigsuspend", scratch.putWords([mask]), 8);
    });
  }
  /** SIGALRM after so many milliseconds, then every `interval`. */
  setitimer(milliseconds: number, interval = 0): Steps<number> {
    const self = this;
    const parts = (ms: number) => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1000)];
    return this.withScratch(function* (scratch) {
      const value = scratch.putWords([...parts(interval), ...parts(milliseconds)]);
      return yield* self.call("setitimer", 0, value, 0);
    });
  }
  /** Milliseconds; fractions count. */
  sleep(milliseconds: number): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("nanosleep", scratch.putWords(timespecWords(milliseconds)), 0);
    });
  }
  /** Nanoseconds of a clock: 0 real time, 1 monotonic. */
  clockGettime(clock: number): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      const buffer = scratch.reserve(16);
      const n = yield* self.call("clock_gettime", clock, buffer);
      if (n < 0) return n;
      return self.memory.word(buffer) * 1e9 + self.memory.word(buffer + 8);
    });
  }
}
