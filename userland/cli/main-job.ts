/**
 * The main job (`npm start`): an unmodified, multi-threaded riscv64 Linux program does real work on two emulated CPUs.
 *
 * esbuild's riscv64 build, fetched from npm at the version of the esbuild devDependency, bundles this project's own
 * command line; the project is mounted read-only, the output folder writable. The host's esbuild does the same with
 * the same flags, and the results are compared byte for byte. Exit status 1 if they differ.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MachineError } from "../../kernel/machine/error.ts";
import { Machine } from "../machine/machine.ts";
import type { MachineStats } from "../machine/stats.ts";
import { statusLine } from "../status-line.ts";
import { Failure, STATUS } from "./failure.ts";
import { fetchNpmProgram } from "./npm-package.ts";
import { table } from "./report.ts";

export const CPUS = 2;
export const FLAGS = [
  "userland/cli/main.ts",
  "--bundle",
  "--splitting",
  "--format=esm",
  "--platform=node",
  "--packages=external",
  "--target=node24",
  "--minify",
];

const project = fileURLToPath(new URL("../..", import.meta.url));

/** Path of the riscv64 esbuild of the version that this project uses. */
export async function riscv64Esbuild(progress: (text: string) => void = () => {}): Promise<string> {
  const { devDependencies } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const esbuild = { name: "@esbuild/linux-riscv64", version: devDependencies.esbuild, path: "bin/esbuild" };
  return fetchNpmProgram(esbuild, { from: project, progress });
}

const filesOf = (folder: string): Map<string, Buffer> =>
  new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path)]),
  );

/** One line for each file that is not the same in both; none when all are. */
export function differences(
  inside: ReadonlyMap<string, Buffer>,
  outside: ReadonlyMap<string, Buffer>,
): string[] {
  const lines: string[] = [];
  for (const name of [...new Set([...inside.keys(), ...outside.keys()])].sort()) {
    const [a, b] = [inside.get(name), outside.get(name)];
    if (a === undefined) lines.push(`${name}: missing in Sternix's output`);
    else if (b === undefined) lines.push(`${name}: only in Sternix's output`);
    else if (!a.equals(b)) {
      let at = 0;
      while (at < Math.min(a.length, b.length) && a[at] === b[at]) at++;
      lines.push(
        `${name}: ${a.length} bytes in Sternix, ${b.length} on the host, first difference at byte ${at}`,
      );
    }
  }
  return lines;
}

function report(stats: MachineStats, hostMs: number, guestMs: number, bootMs: number): string {
  const total = Object.values(stats.syscalls).reduce((sum, n) => sum + n, 0);
  const shares = stats.cpus
    .map((cpu) => `CPU ${cpu.cpu}: ${cpu.syscalls.toLocaleString("en-US")}`)
    .join(", ");
  const busiest = Object.entries(stats.syscalls).sort((a, b) => b[1] - a[1]);
  const n = (value: number) => value.toLocaleString("en-US");
  return table([
    ["boot", `${bootMs.toFixed(0)} ms`],
    ["bundling in Sternix", `${guestMs.toFixed(0)} ms`],
    ["bundling on the host, natively", `${hostMs.toFixed(0)} ms`],
    ["system calls", `${n(total)} (${shares})`],
    [
      "most frequent",
      busiest
        .slice(0, 4)
        .map(([name, calls]) => `${name} ${n(calls)}`)
        .join(", "),
    ],
    ["context switches", n(stats.contextSwitches)],
    ["grace periods", n(stats.rcu.gracePeriods)],
    ["RCU callbacks run", n(stats.rcu.callbacksRun)],
    ["delayed releases", n(stats.rcu.delayedReleases)],
  ]);
}

async function mainJob(): Promise<number> {
  const status = statusLine();
  const fail = (text: string) => {
    status.clear();
    process.stderr.write(`sternix: ${text}\n`);
  };
  const folders = [
    mkdtempSync(join(tmpdir(), "sternix-inside-")),
    mkdtempSync(join(tmpdir(), "sternix-host-")),
  ];
  const [inside, outside] = folders as [string, string];
  try {
    const program = await riscv64Esbuild(status.show);
    status.show("bundling this project on the host");
    const hostStart = performance.now();
    const esbuild = join(project, "node_modules", "esbuild", "bin", "esbuild");
    execFileSync(esbuild, [...FLAGS, `--outdir=${outside}`, "--log-level=warning"], {
      cwd: project,
      stdio: "inherit",
    });
    const hostMs = performance.now() - hostStart;

    status.show(`bundling this project in Sternix: esbuild for riscv64 on ${CPUS} CPUs`);
    const bootStart = performance.now();
    await using machine = await Machine.boot({
      cpus: CPUS,
      mounts: [
        { host: project, guest: "/project" },
        { host: inside, guest: "/out", writable: true },
      ],
    });
    const bootMs = performance.now() - bootStart;
    const args = [...FLAGS, "--outdir=/out", "--log-level=warning"];
    const { code, signal, stderr } = await machine
      .spawn(pathToFileURL(program), { args, cwd: "/project", stdout: "ignore" })
      .output();
    const guestMs = performance.now() - bootStart - bootMs;
    if (code !== 0) {
      fail(`esbuild failed in Sternix: ${signal ?? `status ${code}`}`);
      process.stderr.write(stderr);
      return 1;
    }
    const made = filesOf(inside);
    const differing = differences(made, filesOf(outside));
    if (differing.length > 0) {
      fail("the bundle made in Sternix differs from the host's");
      process.stdout.write(differing.map((line) => `  ${line}\n`).join(""));
    } else {
      const bytes = [...made.values()].reduce((sum, file) => sum + file.length, 0);
      const what = `${made.size} files, ${bytes.toLocaleString("en-US")} bytes`;
      status.clear();
      process.stdout.write(`The bundle made in Sternix is identical to the host's (${what}).\n`);
    }
    process.stdout.write(report(machine.stats(), hostMs, guestMs, bootMs));
    return differing.length > 0 ? 1 : 0;
  } catch (error) {
    if (!(error instanceof Failure || error instanceof MachineError)) throw error;
    fail(error.message);
    return error instanceof Failure ? error.status : STATUS.FAILED;
  } finally {
    status.clear();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exit(await mainJob());
