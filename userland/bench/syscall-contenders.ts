/** Who makes system calls in `bench syscalls`: each runs an operation so many times and says how long that took. */
import { spawnSync } from "node:child_process";
import * as nodeFs from "node:fs";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { kernelOf, Machine } from "../machine/machine.ts";
import { type Central, startCentral } from "./central.ts";
import { type Disturbed, shareOf, threadTimes } from "./disturbance.ts";
import { fsOperations, loadMemfs, type Rounds } from "./node-fs.ts";
import { PROGRAM_OPERATIONS } from "./syscall-program.ts";
import { packageVersion } from "./tables/peers.ts";
import { wasiOperations } from "./wasi.ts";

export const CONTENDERS = [
  "sternix guest",
  "sternix program",
  "host kernel",
  "qemu-riscv64",
  "node:fs",
  "memfs",
  "node:wasi",
  "central (shared memory)",
  "central (postMessage)",
] as const;
export type ContenderName = (typeof CONTENDERS)[number];

/** Nanoseconds that the calls took. */
export interface Timed extends Disturbed {
  readonly ns: number;
}

export interface Contender {
  readonly name: ContenderName;
  knows(operation: string): boolean;
  /** Makes the operation `n` times after `warmup` times. `children`: in so many processes at once, each of them n times. */
  run(operation: string, n: number, warmup: number, children?: number): Promise<Timed>;
  /** Whether it can run in several processes at once. */
  readonly scales: boolean;
}

const QEMU = "qemu-riscv64-static";
/** A process of the host that takes longer than this hangs: nothing here takes a second. */
const HOST_MS = 120_000;
const fromSources = import.meta.url.endsWith(".ts");
const beside = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const guestProgram = beside(fromSources ? "../../test/guest/bin/syscalls" : "./bench-syscalls-guest");
const typeScriptProgram = beside(fromSources ? "./syscall-program.ts" : "./bench-syscall-program.js");
const guestSource = beside(fromSources ? "../../test/guest/src/syscalls.c" : "./bench-syscalls-guest.c");

/** What a host has, and keeps through all passes. */
export interface Host {
  /** The guest's source as a program of this host; null without a compiler. */
  readonly program: string | null;
  readonly qemu: boolean;
  /** A folder in memory. */
  readonly memory: string;
}

/** `skip` is told what is not here. */
export function findHost(work: string, memory: string, skip: (line: string) => void): Host {
  return { program: buildHost(work, skip), qemu: findQemu(skip), memory };
}

function buildHost(work: string, skip: (line: string) => void): string | null {
  if (process.platform !== "linux") {
    skip("the host kernel: not Linux");
    return null;
  }
  const program = join(work, "syscalls");
  for (const compiler of ["gcc", "cc", "clang"])
    for (const linked of [["-static"], []]) {
      const options = ["-O2", "-w", ...linked, "-DHOST", "-x", "c", "-o", program, guestSource];
      if (spawnSync(compiler, options).status === 0) return program;
    }
  skip("the host kernel: no C compiler here that can build the guest's program (gcc, cc, clang)");
  return null;
}

function findQemu(skip: (line: string) => void): boolean {
  const found = spawnSync(QEMU, ["--version"]).status === 0;
  if (!found) skip(`${QEMU}: not on the PATH`);
  return found;
}

/** "NS DELAY" as the programs print it: the delay is the sum over all processes. */
function timed(
  what: string,
  output: string,
  status: number | null,
  errors: string,
  processes: number,
): Timed {
  const [ns = Number.NaN, delay = 0] = output.trim().split(" ").map(Number);
  if (status !== 0 || !(ns > 0)) throw new Error(`${what}: status ${status}, ${output} ${errors}`);
  return { ns, share: Math.max(0, 1 - delay / (ns * processes)) };
}

/** Words of test/guest/src/syscalls.c. */
const words = (operation: string, n: number, warmup: number, dir: string, children = 0): string[] => [
  operation,
  String(n),
  String(warmup),
  dir,
  String(children),
];

function hostProcess(
  name: ContenderName,
  command: string,
  before: string[],
  dir: string,
  after: string[],
): Contender {
  return {
    name,
    knows: () => true,
    scales: true,
    run: async (operation, n, warmup, children = 0) => {
      const args = [...before, ...words(operation, n, warmup, dir, children), ...after];
      const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: HOST_MS });
      return timed(`${name} ${args.join(" ")}`, stdout, status, stderr, Math.max(children, 1));
    },
  };
}

/** Work of threads of this process; `threads` of them are busy with it. */
async function watched(threads: number, work: () => Promise<number>): Promise<Timed> {
  const before = threadTimes();
  const ns = await work();
  return { ns, share: shareOf(before, threadTimes(), threads) };
}

/** Contenders of one pass, with what they need running. */
export interface Field {
  readonly contenders: readonly Contender[];
  /** How the machine looks from outside. */
  state(): string;
  stop(): Promise<void>;
}

/** `cpus`: of machines, and how many call at once. */
export async function startField(
  cpus: number,
  clients: number,
  host: Host,
  wanted: (name: ContenderName) => boolean,
  skip: (line: string) => void,
): Promise<Field> {
  const contenders: Contender[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  let state = (): string => "";
  if (wanted("sternix guest") || wanted("sternix program")) {
    const machine = await Machine.boot({ cpus });
    stops.push(() => machine.shutdown());
    state = () => kernelOf(machine).showState();
    contenders.push(...(await machineContenders(machine, wanted, skip)));
  }
  if (wanted("host kernel") && host.program !== null)
    contenders.push(hostProcess("host kernel", host.program, [], host.memory, []));
  if (wanted("qemu-riscv64") && host.qemu && existsSync(guestProgram)) {
    const qemu = spawnSync("sh", ["-c", `command -v ${QEMU}`], { encoding: "utf8" }).stdout.trim();
    // qemu's user mode runs another riscv64 program only where the host knows how to: this is what binfmt_misc would do.
    contenders.push(hostProcess("qemu-riscv64", qemu, [guestProgram], host.memory, [qemu, guestProgram]));
  }
  contenders.push(...fileContenders(host, wanted, skip));
  for (const [name, byMessages] of [
    ["central (shared memory)", false],
    ["central (postMessage)", true],
  ] as const) {
    if (!wanted(name)) continue;
    const central = await startCentral(clients, byMessages);
    stops.push(() => central.stop());
    contenders.push(centralContender(name, central, clients));
  }
  return {
    contenders,
    state,
    async stop() {
      for (const stop of stops) await stop();
    },
  };
}

/** `guest`: the guest's program on this host. The sources and the built package have it under different names. */
export async function machineContenders(
  machine: Machine,
  wanted: (name: ContenderName) => boolean,
  skip: (line: string) => void,
  guest = guestProgram,
): Promise<Contender[]> {
  const found: Contender[] = [];
  const here = existsSync(guest);
  const inGuest = async (args: readonly string[], processes: number): Promise<Timed> => {
    return watched(processes, async () => {
      const run = await machine.spawn(pathToFileURL(guest), { args }).output();
      return timed(`guest ${args.join(" ")}`, run.stdout, run.code, run.stderr, 1).ns;
    });
  };
  // From now on the guest has it in /usr/bin, under the name that it has here: TypeScript programs exec it there.
  const inside = `/usr/bin/${basename(guest)}`;
  if (here) await inGuest(words("null", 1, 0, "/tmp"), 1);
  else skip("riscv64 guests: the benchmark's guest program is not here");
  if (here && wanted("sternix guest"))
    found.push({
      name: "sternix guest",
      knows: () => true,
      scales: true,
      run: (operation, n, warmup, children = 0) =>
        inGuest(words(operation, n, warmup, "/tmp", children), Math.max(children, 1)),
    });
  if (wanted("sternix program"))
    found.push({
      name: "sternix program",
      knows: (operation) => PROGRAM_OPERATIONS.includes(operation) && (operation !== "exec" || here),
      scales: true,
      run: (operation, n, warmup, children = 0) => {
        const args = [operation, n, warmup, children, inside].map(String);
        return watched(Math.max(children, 1), async () => {
          const run = await machine.spawn(pathToFileURL(typeScriptProgram), { args }).output();
          return timed(`program ${args.join(" ")}`, run.stdout, run.code, run.stderr, 1).ns;
        });
      },
    });
  return found;
}

/** What a JavaScript program has for files today: all on this thread. */
function fileContenders(
  { memory }: Host,
  wanted: (name: ContenderName) => boolean,
  skip: (line: string) => void,
): Contender[] {
  const found: Contender[] = [];
  const add = (
    name: ContenderName,
    operations: Readonly<Record<string, Rounds>> | null,
    absent: string,
  ): void => {
    if (operations === null) skip(absent);
    else
      found.push({
        name,
        knows: (operation) => operation in operations,
        scales: false,
        run: (operation, n, warmup) =>
          watched(1, async () => {
            operations[operation]!(warmup);
            const start = process.hrtime.bigint();
            operations[operation]!(n);
            return Number(process.hrtime.bigint() - start);
          }),
      });
  };
  const onHost = wanted("node:fs") || wanted("node:wasi") ? fsOperations(nodeFs, memory) : null;
  if (wanted("node:fs")) add("node:fs", onHost, "");
  if (wanted("memfs")) {
    const memfs = loadMemfs();
    const operations = memfs === null ? null : fsOperations(memfs, "/bench");
    add("memfs", operations, "memfs: not installed (npm install --no-save memfs)");
  }
  if (wanted("node:wasi"))
    add("node:wasi", wasiOperations(memory), "node:wasi: this Node has none with finalizeBindings (24.4)");
  return found;
}

function centralContender(name: ContenderName, central: Central, clients: number): Contender {
  return {
    name,
    knows: (operation) => operation === "null",
    scales: true,
    run: (_operation, n, warmup) =>
      watched(clients + 1, async () => {
        if (warmup > 0) await central.run(warmup);
        return central.run(n);
      }),
  };
}

/** Versions of the packages among the contenders. */
export function contenderVersions(): Readonly<Record<string, string>> {
  const memfs = packageVersion("memfs");
  return memfs === null ? {} : { memfs };
}
