/**
 * `--strace`: one line per finished system call, in strace's own format, with the pid in front as `strace -f` prints it.
 *
 * A call that blocks runs several times; its line is printed when it ends. In-arguments are formatted before
 * the call (it may overwrite them), out-arguments after it.
 */
import { isBlock, NO_RETURN as LEFT } from "../kernel/sched/block.ts";
import type { SyscallTracer } from "../kernel/syscall-entry.ts";
import { Task } from "../kernel/task/task.ts";
import { signalName } from "../kernel/uapi/signal.ts";
import type { Ref } from "../rcu/index.ts";
import { formatResult, hexWord } from "./args.ts";
import type { CallTracer } from "./entry.ts";
import type { Syscall } from "./syscall.ts";

const RESULT_COLUMN = 40;
const NO_RETURN = new Set(["exit", "exit_group"]);

export function createStrace(write: (text: string) => void): CallTracer & SyscallTracer {
  /** In-arguments of the call that runs now. */
  let before: string[] = [];
  const reported = new Set<number>();
  const prefix = (task: Ref<"task">): string => `[pid ${String(Task.pid.get(task)).padStart(5)}] `;
  const line = (task: Ref<"task">, text: string, result: string): void => {
    write(`${prefix(task)}${text.padEnd(RESULT_COLUMN - 1)} = ${result}\n`);
  };

  return {
    enter(task, call, args) {
      before = call.args.map((arg, index) =>
        arg.out === true ? "" : arg.format(args[index]!, { args, result: -1 }),
      );
      if (NO_RETURN.has(call.name)) line(task, `${call.name}(${before.join(", ")})`, "?");
    },
    leave(task, call, args, result) {
      if (isBlock(result) || NO_RETURN.has(call.name)) return;
      // execve and rt_sigreturn replaced the registers: there is no result of their own.
      const shown =
        result === LEFT ? (call.name === "execve" ? "0" : "?") : formatResult(result, call.returns);
      line(task, `${call.name}(${after(call, args, result).join(", ")})`, shown);
    },
    unknown(task, nr, args) {
      const first = !reported.has(nr);
      reported.add(nr);
      const shown = args.map(hexWord).join(", ");
      const text = `syscall_0x${nr.toString(16)}(${shown})`;
      line(task, text, `-1 ENOSYS (Function not implemented)${first ? " /* not in Sternix */" : ""}`);
    },
    signal(task, signo, code, value) {
      const name = signalName(signo);
      const detail = code > 0 && code !== 0x80 ? `, si_addr=0x${value.toString(16)}` : `, si_pid=${value}`;
      write(`${prefix(task)}--- ${name} {si_signo=${name}, si_code=${code}${detail}} ---\n`);
    },
    exited(task, status, signal) {
      const how = signal === 0 ? `exited with ${status}` : `killed by ${signalName(signal)}`;
      write(`${prefix(task)}+++ ${how} +++\n`);
    },
  };

  function after(call: Syscall, args: readonly number[], result: number): string[] {
    return call.args.map((arg, index) =>
      arg.out === true ? arg.format(args[index]!, { args, result }) : before[index]!,
    );
  }
}
