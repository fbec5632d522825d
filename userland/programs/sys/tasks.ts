/** Processes and threads: fork(2), clone(2), execve(2), wait(2). */
import { EINVAL } from "../../../kernel/uapi/errno.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../../kernel/uapi/mman.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_FILES,
  CLONE_FS,
  CLONE_PARENT_SETTID,
  CLONE_SIGHAND,
  CLONE_SYSVSEM,
  CLONE_THREAD,
  CLONE_VM,
} from "../../../kernel/uapi/sched.ts";
import { SIGCHLD } from "../../../kernel/uapi/signal.ts";
import type { Steps } from "../program.ts";
import type { Body } from "./calls.ts";
import { SignalCalls } from "./signals.ts";

const THREAD_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
const THREAD_STACK_BYTES = 64 * 1024;

export interface Waited {
  readonly pid: number;
  /** As wait4(2) stores it. */
  readonly status: number;
}

export abstract class TaskCalls extends SignalCalls {
  getpid(): Steps<number> {
    return this.call("getpid");
  }
  getppid(): Steps<number> {
    return this.call("getppid");
  }
  gettid(): Steps<number> {
    return this.call("gettid");
  }
  schedYield(): Steps<number> {
    return this.call("sched_yield");
  }
  exit(status: number): Steps<number> {
    return this.call("exit_group", status);
  }

  /** Numbers of the CPUs that the machine has, for `forkOn`. */
  *cpus(): Steps<number[]> {
    const text = yield* this.ok(this.readFile("/sys/devices/system/cpu/online"));
    return text
      .trim()
      .split(",")
      .flatMap((range) => {
        const [first, last = first] = range.split("-").map(Number) as [number, number?];
        return Array.from({ length: last! - first + 1 }, (_, i) => first + i);
      });
  }

  /** A child process that runs `body` in a copy of this one's memory, on this CPU. Returns its pid. */
  fork(body: Body): Steps<number> {
    return this.#clone(body, false, SIGCHLD, 0, 0, 0);
  }

  /**
   * A child process on CPU `cpu`, which runs `entry` of this program (the second argument of `program`), with the
   * arguments `args` behind argv[0]. As after fork it has a copy of this one's memory, shared mappings at the same
   * addresses, and its descriptors; but a closure cannot go to another CPU, so what it needs to know of these stands
   * in `args`. Its signal handlers are the default ones. Returns its pid, or -EINVAL when there is no such CPU.
   */
  *forkOn(cpu: number, entry: string, args: readonly (string | number)[] = []): Steps<number> {
    if (!this.hooks.hasEntry(entry)) throw new Error(`this program has no entry named ${entry}`);
    if (!(yield* this.cpus()).includes(cpu)) return -EINVAL;
    const texts = args.map(String);
    return yield* this.fork((child) => child.moveTo(cpu, entry, texts));
  }
  /** The end of this task's generator: it starts over on another CPU. */
  moveTo(cpu: number, entry: string, args: readonly string[]): Steps<number> {
    return this.hooks.moveTo(cpu, entry, args);
  }

  /**
   * A thread of this process that runs `body`, on this CPU. `tidAddress`, when given, is a word that holds its tid
   * while it lives; at its end the word is cleared and one waiter is woken there (see `join`).
   */
  *thread(body: Body, tidAddress = 0): Steps<number> {
    const [prot, flags] = [PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS];
    const stack = yield* this.mmap(0, THREAD_STACK_BYTES, prot, flags, -1, 0);
    if (stack < 0) return stack;
    const tid = tidAddress === 0 ? 0 : CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
    return yield* this.#clone(
      body,
      true,
      THREAD_FLAGS | tid,
      stack + THREAD_STACK_BYTES,
      tidAddress,
      tidAddress,
    );
  }

  /**
   * A child process that runs another program (any executable of the guest). `prepare` runs in the child first and
   * sets up its descriptors. Returns the pid, or -errno of the fork; a child that cannot run the program exits 127.
   */
  spawn(path: string, argv: readonly string[], env: readonly string[], prepare?: Body): Steps<number> {
    return this.fork(function* (child): Steps<number> {
      if (prepare !== undefined) yield* prepare(child);
      yield* child.execve(path, argv, env);
      return 127;
    });
  }

  *#clone(
    body: Body,
    sharesMemory: boolean,
    flags: number,
    stack: number,
    parentTid: number,
    childTid: number,
  ): Steps<number> {
    const token = this.hooks.announceChild(body, sharesMemory);
    const result = yield* this.call("clone", flags, stack, parentTid, 0, childTid);
    if (result < 0) this.hooks.forgetChild(token);
    return result;
  }

  /** Replaces this program; returns only when that fails. */
  execve(path: string, argv: readonly string[], env: readonly string[]): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      const file = scratch.putString(path);
      return yield* self.call("execve", file, scratch.putStrings(argv), scratch.putStrings(env));
    });
  }

  waitpid(pid = -1, options = 0): Steps<Waited | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<Waited | number> {
      const status = scratch.putWords([0]);
      const got = yield* self.call("wait4", pid, status, options, 0);
      return got < 0 ? got : { pid: got, status: scratch.view(status, 4).getInt32(0, true) };
    });
  }
}
