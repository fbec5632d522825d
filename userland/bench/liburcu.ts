/**
 * liburcu beside sternix/rcu in `bench rcu`: a program of ours (liburcu.c) that uses it, built for each flavour when the benchmark
 * begins, where this host has a compiler and liburcu 0.13 or newer. https://liburcu.org
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Disturbed } from "./disturbance.ts";

const FLAVOURS = ["qsbr", "memb", "mb"] as const;
type Flavour = (typeof FLAVOURS)[number];
type Operation = "scope" | "lookup" | "callbacks";

/** What the report calls them. */
export const LIBURCU = [
  "liburcu qsbr",
  "liburcu memb",
  "liburcu mb",
  "liburcu cds_lfht",
  "liburcu call_rcu",
] as const;
type Name = (typeof LIBURCU)[number];
const OPERATION: Readonly<Record<Name, readonly [Flavour, Operation]>> = {
  "liburcu qsbr": ["qsbr", "scope"],
  "liburcu memb": ["memb", "scope"],
  "liburcu mb": ["mb", "scope"],
  "liburcu cds_lfht": ["qsbr", "lookup"],
  "liburcu call_rcu": ["qsbr", "callbacks"],
};
/** Its callbacks are run by a thread that looks every 10 ms: shorter measurements are a lottery. */
const CALLBACKS_MS = 200;

const fromSources = import.meta.url.endsWith(".ts");
const source = fileURLToPath(new URL(fromSources ? "./liburcu.c" : "./bench-liburcu.c", import.meta.url));

/** Operations of all threads together, and the nanoseconds that these took, added up. */
export interface LiburcuRun extends Disturbed {
  readonly operations: number;
  readonly ns: number;
}

/** The built program of each flavour, started when it is first asked something. */
export class Liburcu {
  readonly #folder: string;
  readonly version: string;
  readonly #running = new Map<Flavour, { readonly child: ChildProcess; readonly lines: Interface }>();

  private constructor(folder: string, version: string) {
    this.#folder = folder;
    this.version = version;
  }

  /** Builds it; null where that cannot be done, and `skip` is told why in a line. `compilers` are tried in turn. */
  static build(
    skip: (line: string) => void,
    compilers: readonly string[] = ["gcc", "cc", "clang"],
  ): Liburcu | null {
    const compiler = compilers.find((name) => spawnSync(name, ["--version"]).status === 0);
    if (compiler === undefined) {
      skip("liburcu: no C compiler here (gcc, cc, clang)");
      return null;
    }
    const folder = mkdtempSync(join(tmpdir(), "sternix-bench-liburcu-"));
    for (const flavour of FLAVOURS) {
      const libraries = [`-lurcu-${flavour}`, "-lurcu-cds", "-lpthread"];
      const options = [
        "-O2",
        `-D${flavour.toUpperCase()}`,
        "-o",
        join(folder, flavour),
        source,
        ...libraries,
      ];
      if (spawnSync(compiler, options).status === 0) continue;
      rmSync(folder, { recursive: true, force: true });
      skip("liburcu: not installed (Debian: apt install liburcu-dev), or older than 0.13");
      return null;
    }
    const version = spawnSync("pkg-config", ["--modversion", "liburcu-qsbr"], { encoding: "utf8" });
    return new Liburcu(folder, version.status === 0 ? version.stdout.trim() : "unknown");
  }

  /** Measures for `ms` milliseconds on so many threads; `entries` are those of the table. */
  async run(name: Name, threads: number, entries: number, ms: number): Promise<LiburcuRun> {
    const [flavour, operation] = OPERATION[name];
    const { child, lines } = this.#started(flavour);
    const length = operation === "callbacks" ? Math.max(ms, CALLBACKS_MS) : ms;
    const answer = new Promise<string>((resolve, reject) => {
      const ended = (code: number | null, signal: string | null) =>
        reject(new Error(`${name}: the program ended with ${signal ?? code}`));
      child.once("exit", ended);
      lines.once("line", (line) => {
        child.off("exit", ended);
        resolve(line);
      });
    });
    child.stdin!.write(`${operation} ${threads} ${entries} ${length}\n`);
    const [operations = 0, ns = 0, delay = 0] = (await answer).split(" ").map(Number);
    if (!(operations > 0 && ns > 0)) throw new Error(`${name}: did ${operations} operations in ${ns} ns`);
    return { operations, ns, share: Math.max(0, 1 - delay / ns) };
  }

  #started(flavour: Flavour): { readonly child: ChildProcess; readonly lines: Interface } {
    let running = this.#running.get(flavour);
    if (running === undefined) {
      const child = spawn(join(this.#folder, flavour), { stdio: ["pipe", "pipe", "inherit"] });
      running = { child, lines: createInterface({ input: child.stdout! }) };
      this.#running.set(flavour, running);
    }
    return running;
  }

  /** Ends the programs and removes them. */
  close(): void {
    for (const { child, lines } of this.#running.values()) {
      lines.close();
      child.kill();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
