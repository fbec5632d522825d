/** The processes that mutants run in: a warm one for the model, a new one for the tests. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ModelJob, ModelNews } from "./model-child.ts";
import type { Edit } from "./rules.ts";
import { ROOT } from "./source.ts";
import type { TestsNews } from "./tests-child.ts";

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const CACHE = fileURLToPath(new URL("node_modules/.cache/sternix-mutate/compiled", ROOT));
/** What is loaded for a mutant is not given back. */
const FULL = 900 << 20;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function start(
  file: string,
  execArgv: string[],
  env: Record<string, string>,
  args: string[] = [],
): ChildProcess {
  const child = fork(pathOf(file), args, {
    execArgv: ["--no-warnings", ...execArgv],
    env: { ...process.env, NODE_COMPILE_CACHE: CACHE, ...env },
    stdio: ["ignore", "ignore", process.env.STERNIX_MUTATE_DEBUG === undefined ? "ignore" : "inherit", "ipc"],
  });
  running.add(child);
  child.on("exit", () => running.delete(child));
  child.on("error", () => {});
  return child;
}

/** Milliseconds of a processor that a process has used, by Linux's /proc; null where there is none, or it has gone. */
function used(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return null;
  }
}

/** How long it may sleep, and how much longer than a processor's time it may take where others want the processors too. */
const ASLEEP = 4;
const BUSY = 40;

/**
 * Hands on what a child tells until it is over; how it ended. It hangs when it has used `limit` milliseconds of a processor without news,
 * or has done nothing at all for a multiple of that: other work on the machine makes no mutant hang.
 */
function listen<News>(
  child: ChildProcess,
  hear: (news: News) => void,
  isLast: (news: News) => boolean,
  limit: number | (() => number),
): Promise<"over" | "hangs" | "died"> {
  const { promise, resolve } = Promise.withResolvers<"over" | "hangs" | "died">();
  let heard = performance.now();
  let before = used(child.pid!) ?? 0;
  let idleSince = heard;
  let last = before;
  const wait = (): void => {
    heard = idleSince = performance.now();
    before = last = used(child.pid!) ?? 0;
  };
  const timer = setInterval(() => {
    const most = typeof limit === "number" ? limit : limit();
    const [time, now] = [used(child.pid!) ?? 0, performance.now()];
    if (time - last > 20) idleSince = now;
    last = time;
    if (time - before > most || now - idleSince > most + ASLEEP * 1000 || now - heard > BUSY * most)
      done("hangs");
  }, 500);
  const done = (how: "over" | "hangs" | "died"): void => {
    clearInterval(timer);
    child.off("message", onMessage).off("exit", onExit);
    resolve(how);
  };
  const onMessage = (news: unknown): void => {
    try {
      hear(news as News);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    if (isLast(news as News)) done("over");
    else wait();
  };
  const onExit = (): void => done("died");
  child.on("message", onMessage).on("exit", onExit);
  return promise;
}

export interface ModelProcess {
  work(
    job: ModelJob,
    hear: (news: ModelNews) => void,
    limit: number | (() => number),
  ): Promise<"over" | "hangs" | "died">;
  end(): void;
}
export function modelProcess(probing = false): ModelProcess {
  let child: ChildProcess | null = null;
  const end = (): void => {
    child?.kill("SIGKILL");
    child = null;
  };
  return {
    async work(job, hear, limit) {
      child ??= start("model-child.ts", ["--max-old-space-size=3000"], {});
      let bytes = 0;
      child.send(job);
      const how = await listen<ModelNews>(
        child,
        (news) => {
          if ("over" in news) bytes = news.bytes;
          hear(news);
        },
        (news) => "over" in news,
        limit,
      );
      if (how !== "over" || (bytes > FULL && !probing)) end();
      return how;
    },
    end,
  };
}

/** Runs test files on a mutant, or with probes for null; "hangs" when nothing is heard for so long. */
export async function testProcess(
  mutant: { readonly file: string; readonly edits: readonly Edit[] } | null,
  files: readonly string[],
  limit: number | (() => number),
  hear: (news: TestsNews) => void,
): Promise<"over" | "hangs" | "died"> {
  const env =
    mutant === null
      ? { STERNIX_PROBES: "1" }
      : { STERNIX_MUTANT: JSON.stringify({ file: mutant.file, edits: mutant.edits }) };
  const child = start("tests-child.ts", ["--import", pathOf("hook.ts")], { STERNIX_HARNESS: "1", ...env });
  child.send({ files, probing: mutant === null });
  const how = await listen<TestsNews>(child, hear, (news) => "over" in news || "failed" in news, limit);
  child.kill("SIGKILL");
  return how;
}

/** Tortures a mutant for some seconds: what was found, null for nothing. */
export async function tortureProcess(
  { file, edits }: { readonly file: string; readonly edits: readonly Edit[] },
  flavour: string,
  seconds: number,
): Promise<string | null> {
  const child = start(
    "torture-child.ts",
    ["--import", pathOf("hook.ts")],
    {
      STERNIX_MUTANT: JSON.stringify({ file, edits }),
    },
    ["--flavour", flavour, "--seconds", String(seconds)],
  );
  let found: string | null = null;
  const how = await listen<{ readonly failures: readonly string[] }>(
    child,
    ({ failures }) => {
      if (failures.length > 0) found = failures.join("; ");
    },
    () => true,
    60_000 + 10_000 * seconds,
  );
  child.kill("SIGKILL");
  return found ?? (how === "over" ? null : how);
}
