/**
 * What PROGRAM names: a program of the host (riscv64, TypeScript or JavaScript, one of our workloads, a file of an npm package), as a
 * URL, or a path in the guest, as a string; what Machine.spawn takes.
 */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { checkHostProgram, isModule } from "../machine/host-program.ts";
import { SpawnError } from "../machine/spawn-error.ts";
import { WORKLOADS, type WorkloadName, workloadPath } from "../programs/workloads/index.ts";
import { Failure, STATUS, spawnFailure } from "./failure.ts";
import { fetchNpmProgram, isNpmProgram, parseNpmProgram } from "./npm-package.ts";

/** workload:NAME is a program of userland/programs/workloads. */
const WORKLOAD = "workload:";

/** Throws Failure when there is no such program on the host, or it cannot be run. */
export async function resolveProgram(
  program: string,
  root: string | undefined,
  progress: (text: string) => void,
): Promise<string | URL> {
  if (program.startsWith(WORKLOAD)) return workload(program);
  if (isNpmProgram(program))
    return hostProgram(await fetchNpmProgram(parseNpmProgram(program), { progress }), program);
  // With a root, a module of the host still runs: the guest has no use for one.
  const here = isModule(program) && statSync(program, { throwIfNoEntry: false }) !== undefined;
  return root === undefined || here ? hostProgram(resolve(program), program) : program;
}

function workload(program: string): URL {
  const name = program.slice(WORKLOAD.length) as WorkloadName;
  if (!WORKLOADS.includes(name))
    throw new Failure(`${program}: the workloads are ${WORKLOADS.join(", ")}`, STATUS.NOT_FOUND);
  return pathToFileURL(workloadPath(name));
}

function hostProgram(path: string, program: string): URL {
  try {
    checkHostProgram(path);
  } catch (error) {
    if (!(error instanceof SpawnError)) throw error;
    if (error.code !== "ENOENT") throw spawnFailure(program, error);
    const known = WORKLOADS.find((name) => program === name || program === `${name}.ts`);
    const hint = program.includes("/")
      ? ""
      : known === undefined
        ? " in this folder; with --root DIR it is looked up in the guest's PATH"
        : ` in this folder; the workload is ${WORKLOAD}${known}`;
    throw new Failure(`${program}: there is no such program${hint}`, STATUS.NOT_FOUND);
  }
  return pathToFileURL(path);
}
