/** A machine in a process of its own, seen from outside: it may die, freeze, or tell what a script did to it. */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove } from "./host-files.ts";
import type { Script } from "./script.ts";

export interface MachineConfig {
  readonly cpus: number;
  readonly debug: boolean;
  readonly memory: number;
  /** Descriptor that gets a line for each call. */
  readonly strace?: number;
}

export type Request =
  | { command: "boot"; config: MachineConfig; folder: string }
  | { command: "round"; script: Script }
  | { command: "end" };

export interface Reply {
  /** What is wrong, in lines. */
  readonly problems: readonly string[];
  /** System calls made. */
  readonly calls: number;
  readonly ms: number;
  readonly unasked?: boolean;
}

/** A process that says nothing for so long is frozen, however busy this computer is. */
const FROZEN_MS = 180_000;
/** What a process may live on when its machine is down. */
const GONE_MS = 10_000;

export class Session {
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;
  /** Programs and the mounted folder. Removed when the process has ended, however it did. */
  readonly #folder = mkdtempSync(join(tmpdir(), "sternix-fuzz-"));
  #stderr = "";

  private constructor(trace: number | undefined) {
    this.#child = fork(new URL("./child.ts", import.meta.url), {
      stdio: ["ignore", "ignore", "pipe", "ipc", ...(trace === undefined ? [] : [trace])],
      execArgv: [],
    });
    this.#child.stderr!.on("data", (bytes) => {
      this.#stderr = (this.#stderr + bytes).slice(-4000);
    });
    this.#exited = new Promise((resolve) =>
      this.#child.once("close", (code, signal) => {
        remove(this.#folder);
        resolve(`the host's process ended: ${signal ?? `status ${code}`}\n${this.#stderr}`);
      }),
    );
  }

  /** `trace`: a descriptor of this process that gets a line for each call. */
  static async start(config: MachineConfig, trace?: number): Promise<Session> {
    const session = new Session(trace);
    // The child has it behind its standard streams and the channel.
    const { problems } = await session.#ask({
      command: "boot",
      config: trace === undefined ? config : { ...config, strace: 4 },
      folder: session.#folder,
    });
    if (problems.length > 0) throw new Error(`the machine does not boot: ${problems.join("\n")}`);
    return session;
  }

  round(script: Script): Promise<Reply> {
    return this.#ask({ command: "round", script });
  }

  /** Takes the machine down; the process has to end of itself. */
  async end(): Promise<Reply> {
    const reply = await this.#ask({ command: "end" });
    if (reply.problems.length > 0) {
      this.kill();
      return reply;
    }
    const gone = await Promise.race([this.#exited, pause(GONE_MS)]);
    if (gone === undefined) {
      this.kill();
      return { ...reply, problems: [`the process lives on ${GONE_MS} ms after shutdown`] };
    }
    const clean = gone.startsWith("the host's process ended: status 0");
    return clean ? reply : { ...reply, problems: [gone] };
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #ask(request: Request): Promise<Reply> {
    const warnings: string[] = [];
    let listener: (reply: Reply) => void = () => {};
    const replied = new Promise<Reply>((resolve) => {
      listener = (reply) => {
        if (reply.unasked === true) warnings.push(...reply.problems);
        else resolve(reply);
      };
      this.#child.on("message", listener);
    });
    // A child that is gone shows by its exit.
    this.#child.send(request, undefined, {}, () => {});
    const timer = pause(FROZEN_MS);
    const first = await Promise.race([replied, this.#exited, timer]);
    this.#child.off("message", listener);
    if (typeof first === "object") return { ...first, problems: [...warnings, ...first.problems] };
    const frozen = () =>
      `the host's thread is frozen: no answer for ${FROZEN_MS} ms\n${threads(this.#child.pid!)}`;
    const problem = first ?? frozen();
    this.kill();
    return {
      problems: [...warnings, problem],
      calls: 0,
      ms: 0,
    };
  }
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

/** What the threads of a process do: state, CPU time in ticks, and where in the host's kernel they wait. */
function threads(pid: number): string {
  const folder = `/proc/${pid}/task`;
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8").trim();
    } catch {
      return "?";
    }
  };
  return readdirSync(folder)
    .map((tid) => {
      const fields = read(`${folder}/${tid}/stat`)
        .replace(/^.*\) /, "")
        .split(" ");
      return `  ${read(`${folder}/${tid}/comm`)} ${fields[0]} ${fields[11]}+${fields[12]} ${read(`${folder}/${tid}/wchan`)}`;
    })
    .join("\n");
}
