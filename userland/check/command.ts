/** `sternix check`: scenarios of modules, each module on a worker that is watched. */
import { Worker } from "node:worker_threads";
import { Failure } from "../cli/failure.ts";
import { statusLine } from "../status-line.ts";
import type { Job, Message } from "./check-worker.ts";
import { partOf, whereItIs } from "./endless.ts";
import { type Command, parseCheckOptions, WRONG_USAGE } from "./options.ts";
import { printed, summary } from "./print.ts";
import type { ScenarioReport } from "./run.ts";

const WORKER = new URL(
  import.meta.url.endsWith(".ts") ? "./check-worker.ts" : "./check-worker.js",
  import.meta.url,
);

/** Status: 0 nothing found, 1 a mistake, 2 wrong usage or a module that cannot be checked (Failure). */
export async function runCheck(words: readonly string[]): Promise<number> {
  const command = parseCheckOptions(words);
  const reports: ScenarioReport[] = [];
  for (const module of command.modules) {
    const before = reports.length;
    for await (const report of checkModule(module, command)) {
      reports.push(report);
      process.stdout.write(command.json ? `${JSON.stringify(report)}\n` : printed(report, command.verbose));
    }
    if (reports.length === before) throw new Failure(`check: ${module}: no scenario was run`, WRONG_USAGE);
  }
  if (!command.json) process.stdout.write(summary(reports));
  return reports.some(({ verdict }) => verdict === "violated") ? 1 : 0;
}

async function* checkModule(module: string, command: Command): AsyncGenerator<ScenarioReport> {
  const status = statusLine();
  const pulse = new Int32Array(new SharedArrayBuffer(8));
  const job: Job = { module, options: command.options, pulse };
  const worker = new Worker(WORKER, { workerData: job });
  const messages: Message[] = [];
  let wake = (): void => {};
  let failed: Error | null = null;
  const arrived = (): void => wake();
  worker.on("message", (message: Message) => {
    messages.push(message);
    arrived();
  });
  worker.on("error", (error) => {
    failed = error as Error;
    arrived();
  });
  let doing = "";
  let threads: readonly string[] = [];
  const watchdog = watchPulse(pulse, command.timeoutMs, () => {
    const what = pulse[1]!;
    void whereItIs().then((place) => {
      const at = place === "" ? "" : ` at ${place}`;
      const scenario = doing === "" ? "" : `, scenario ${doing}`;
      failed = new Failure(
        `check: ${module}${scenario}: ${partOf(what, threads)} has not come to an end nor touched shared memory for ` +
          `${command.timeoutMs / 1000} seconds${at}: it loops, or waits for something that a scenario has not`,
        WRONG_USAGE,
      );
      arrived();
    });
  });
  try {
    for (;;) {
      const message = messages.shift();
      if (message === undefined) {
        if (failed !== null) throw failed as Error;
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      if ("wrong" in message) throw new Failure(`check: ${message.wrong}`, WRONG_USAGE);
      if ("done" in message) return;
      if ("report" in message) {
        status.clear();
        yield message.report;
      } else {
        ({ doing, threads } = message);
        status.show(`checking ${doing}`);
      }
    }
  } finally {
    status.clear();
    clearInterval(watchdog);
    // A worker that does not end is left to the end of the process.
    await Promise.race([worker.terminate(), new Promise((resolve) => setTimeout(resolve, 5000).unref())]);
  }
}

/** Calls back, once, when code of the user's has been running for so long without a sign of life. */
function watchPulse(pulse: Int32Array, limitMs: number, stuck: () => void): NodeJS.Timeout {
  let last = pulse[0]!;
  let since = performance.now();
  const timer = setInterval(
    () => {
      // 0: the checker itself is at work.
      if (pulse[0] !== last || pulse[1] === 0) {
        last = pulse[0]!;
        since = performance.now();
      } else if (performance.now() - since > limitMs) {
        clearInterval(timer);
        stuck();
      }
    },
    Math.min(1000, limitMs / 4),
  );
  return timer;
}
