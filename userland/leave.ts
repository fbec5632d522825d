/**
 * Leaving this process for good. process.exit() first waits for every thread, and a CPU whose program sits in a call of the host (a
 * synchronous child process, say) ends only when that returns.
 */
import type { Worker } from "node:worker_threads";

/** Threads that this process started and that have not ended. */
const threads = new Set<Worker>();
process.on("worker", (worker) => {
  threads.add(worker);
  worker.once("exit", () => threads.delete(worker));
});

/**
 * Ends this process with a status, whatever its threads do. While some live it becomes, by execve(2), a shell that exits at once: that alone
 * ends them all and keeps the status.
 */
export function leave(status: number): never {
  process.exitCode = status;
  if (threads.size > 0 && process.execve !== undefined) {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    try {
      process.execve("/bin/sh", ["sh", "-c", `exit ${status}`]);
    } catch {
      // No shell here: what is left is to wait.
    }
  }
  process.exit();
}
