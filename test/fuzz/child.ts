/**
 * A process with one machine, which runs scripts and looks at what they leave. Its parent (session.ts) sees when it dies or freezes.
 */
import { chownSync, copyFileSync, mkdirSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { dcacheShrink } from "../../kernel/fs/dcache.ts";
import { allMounts, detachMount } from "../../kernel/fs/mount-tree.ts";
import { killEverybody } from "../../kernel/machine/host-signal.ts";
import { freeFrames } from "../../kernel/mm/frame.ts";
import { reclaimPages } from "../../kernel/mm/reclaim.ts";
import { nrTasks } from "../../kernel/task/pid.ts";
import { MNT_DETACH } from "../../kernel/uapi/mount.ts";
import { Machine } from "../../userland/index.ts";
import { kernelOf } from "../../userland/machine/machine.ts";
import { fillHostFolder, swapHostFiles } from "./host-files.ts";
import { Random } from "./random.ts";
import { encode } from "./script.ts";
import type { MachineConfig, Reply, Request } from "./session.ts";

/** What a script may take until it is ended; most end earlier. */
const SCRIPT_MS = 1500;
/** What killed processes may take to be gone, and programs to run. This computer may be busy. */
const PATIENCE_MS = 20_000;
/** What a machine without memory says. */
const EXPECTED = /^Out of memory: killed process/;

const NOBODY = 65534;
const BIN = new URL("../guest/bin/", import.meta.url);
/** Guest programs that scripts run. */
const PROGRAMS = ["fuzz", "hello", "exit", "fork"];
const DESCRIPTORS = "host descriptors";
/** Host files that a running machine may keep open for later; when it is down, none is left. */
const CACHED_DESCRIPTORS = 16;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A guest that gets out must not be root on this computer: gives this process the rights of nobody. */
function renounce(folder: string): void {
  if (process.getuid!() !== 0) return;
  for (const name of ["", "host", "bin"]) chownSync(join(folder, name), NOBODY, NOBODY);
  process.setgroups!([]);
  process.setgid!(NOBODY);
  process.setuid!(NOBODY);
}

class Bench {
  readonly machine: Machine;
  readonly log: string[];
  readonly #folder: string;
  #baseline: Record<string, number> = {};
  #open = new Set<string>();
  /** The mounts of boot. */
  #mounts: ReadonlySet<number> = new Set();

  constructor(machine: Machine, log: string[], folder: string) {
    this.machine = machine;
    this.log = log;
    this.#folder = folder;
  }

  static async boot({ cpus, debug, memory, strace }: MachineConfig, folder: string): Promise<Bench> {
    for (const name of ["host", "bin"]) mkdirSync(join(folder, name));
    for (const name of PROGRAMS) copyFileSync(fileURLToPath(new URL(name, BIN)), join(folder, "bin", name));
    const log: string[] = [];
    const machine = await Machine.boot({
      cpus,
      debug,
      memory,
      mounts: [
        { host: join(folder, "bin"), guest: "/guest" },
        { host: join(folder, "host"), guest: "/host", writable: true },
      ],
      log: (line) => log.push(line),
      ...(strace === undefined ? {} : { strace }),
    });
    renounce(folder);
    const bench = new Bench(machine, log, folder);
    bench.#mounts = new Set(kernelOf(machine).run(allMounts));
    return bench;
  }

  /** Runs a script; what is wrong afterwards, in lines. The first one of a machine only says what is normal. */
  async round(request: Extract<Request, { command: "round" }>): Promise<string[]> {
    const kernel = kernelOf(this.machine);
    const random = new Random(request.script.seed ^ 0x5eed);
    fillHostFolder(join(this.#folder, "host"), random);
    const process = this.machine.spawn("/guest/fuzz", {
      argv: ["fuzz", "run"],
      stdin: encode(request.script),
    });
    const output = process.output();
    let ended = false;
    process.exited.catch(() => {}).finally(() => (ended = true));
    for (const end = Date.now() + SCRIPT_MS; !ended && Date.now() < end; ) {
      await sleep(5);
      swapHostFiles(join(this.#folder, "host"), random);
    }
    for (const end = Date.now() + PATIENCE_MS; ; ) {
      kernel.run(killEverybody);
      if (kernel.run(() => nrTasks()) <= 1) break;
      if (Date.now() > end)
        return [`hang: processes that were killed live on\n${kernel.showState()}`, ...this.log];
      await sleep(2);
    }
    kernel.run(() => this.#unmountAll());
    const problems: string[] = [];
    const { stdout } = await within(PATIENCE_MS, "the end of the script's output", output);
    // It got no farther than to its own preparations.
    if (stdout.startsWith("fuzz: ")) problems.push(stdout);
    problems.push(...(await this.#freshProgram()));
    problems.push(...this.log.splice(0).filter((line) => !EXPECTED.test(line)));
    if (this.machine.stats().crashes > 0) problems.push("a CPU died");
    if (problems.length === 0) problems.push(...(await this.#leaks()));
    return problems;
  }

  /** A script that is root can leave its root (chroot and "..") and mount what it likes elsewhere. */
  #unmountAll(): void {
    for (const mount of allMounts().reverse()) if (!this.#mounts.has(mount)) detachMount(mount, MNT_DETACH);
  }

  async #freshProgram(): Promise<string[]> {
    for (const argv of [
      ["fuzz", "clean"],
      ["fuzz", "clean"],
    ]) {
      const fresh = this.machine.spawn("/guest/fuzz", { argv, timeout: PATIENCE_MS });
      try {
        const { code, stdout } = await fresh.output();
        if (code !== 0 || stdout !== "clean\n")
          return [`a fresh program exits with ${code} and says ${JSON.stringify(stdout)}`];
      } catch (error) {
        return [`a fresh program does not run: ${error}\n${kernelOf(this.machine).showState()}`];
      }
    }
    return [];
  }

  /** What is more than after the first round. Caches are emptied; what is given back later is waited for. */
  async #leaks(): Promise<string[]> {
    if (Object.keys(this.#baseline).length === 0) {
      this.#baseline = await this.#count();
      this.#open = new Set(hostDescriptors());
      return [];
    }
    for (let tries = 0; ; tries++) {
      const now = await this.#count();
      const more = Object.entries(now).filter(
        ([name, count]) => count > (this.#baseline[name] ?? 0) + this.#mayKeep(name),
      );
      if (more.length === 0) return [];
      if (tries < 20) {
        await sleep(50);
        continue;
      }
      const leaks = more.map(([name, count]) => {
        const what =
          name === DESCRIPTORS ? `: ${hostDescriptors().filter((link) => !this.#open.has(link))}` : "";
        return `leak: ${name} ${this.#baseline[name] ?? 0} -> ${count}${what}`;
      });
      // The next script is told of its own leaks only.
      this.#baseline = now;
      return leaks;
    }
  }

  /** What a machine may have more of than after its first script, for as long as it runs. */
  #mayKeep(name: string): number {
    // Some of these belong to what stays: a mount's root that is opened for the first time keeps a descriptor, and its record.
    if (name === DESCRIPTORS || name === "host_fd") return CACHED_DESCRIPTORS;
    // A lock context stays with its inode, and some inodes stay with the machine.
    return name === "flctx" ? this.#baseline.inode! : 0;
  }

  async #count(): Promise<Record<string, number>> {
    const kernel = kernelOf(this.machine);
    for (let pass = 0; pass < 2; pass++) {
      kernel.run(() => {
        dcacheShrink(Number.POSITIVE_INFINITY);
        reclaimPages(Number.POSITIVE_INFINITY);
      });
      await within(PATIENCE_MS, "the end of all callbacks", kernel.settle());
    }
    return {
      ...kernel.liveObjects(),
      "frames in use": -kernel.run(freeFrames),
      [DESCRIPTORS]: hostDescriptors().length,
    };
  }

  async end(): Promise<string[]> {
    await within(PATIENCE_MS, "shutdown", this.machine.shutdown());
    const problems = this.log.filter((line) => !EXPECTED.test(line));
    const left = hostDescriptors().filter((link) => link.includes(this.#folder));
    if (left.length > 0) problems.push(`descriptors that are open after shutdown: ${left}`);
    return problems;
  }
}

/** Number and file of each. */
const hostDescriptors = () => readdirSync("/proc/self/fd").map((number) => `${number} ${describe(number)}`);

function describe(number: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${number}`);
  } catch {
    return "of this very look";
  }
}

let bench: Bench | null = null;

async function answer(request: Request): Promise<Reply> {
  const started = performance.now();
  const calls = () => Object.values(bench!.machine.stats().syscalls).reduce((sum, n) => sum + n, 0);
  try {
    if (request.command === "boot") {
      bench = await Bench.boot(request.config, request.folder);
      return { problems: [], calls: 0, ms: performance.now() - started };
    }
    const before = calls();
    const problems = request.command === "round" ? await bench!.round(request) : await bench!.end();
    return { problems, calls: calls() - before, ms: performance.now() - started };
  } catch (error) {
    const state = bench === null ? "" : `\n${bench.log.join("\n")}\n${kernelOf(bench.machine).showState()}`;
    return {
      problems: [`${(error as Error).stack ?? error}${state}`],
      calls: 0,
      ms: performance.now() - started,
    };
  }
}

function send(reply: Reply, then: () => void = () => {}): void {
  process.send!(reply, undefined, undefined, then);
}

process.on("uncaughtException", (error) => {
  process.send!(
    { problems: [`uncaught on the host's thread: ${error.stack ?? error}`], calls: 0, ms: 0 },
    () => process.exit(1),
  );
});
process.on("warning", ({ name, message }) => {
  if (name !== "ExperimentalWarning")
    send({ problems: [`warning: ${message}`], calls: 0, ms: 0, unasked: true });
});
let down = false;
let folder = "";
process.on("message", (request: Request) => {
  if (request.command === "boot") folder = request.folder;
  void answer(request).then((reply) => {
    send(reply);
    // The machine is down: nothing may keep this process.
    if (request.command !== "end") return;
    down = true;
    process.disconnect!();
  });
});
// The parent is gone, killed perhaps: nobody waits for what this process finds, or removes its folder.
process.on("disconnect", () => {
  if (down) return;
  if (folder !== "") rmSync(folder, { recursive: true, force: true });
  process.exit(1);
});
