/**
 * What PROGRAM names: a TypeScript or JavaScript module of the host, one of our workloads, an executable file of the host, or
 * a path in the guest.
 */
import { realpathSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { WORKLOADS, type WorkloadName, workloadPath } from "../programs/workloads/index.ts";
import { checkProgramFile } from "./elf-check.ts";
import { Failure, STATUS } from "./failure.ts";
import { fetchNpmProgram, isNpmProgram, parseNpmProgram } from "./npm-package.ts";
import type { RunOptions } from "./run-options.ts";

export type Resolved =
  /** A module whose default export is program(...): `path` is absolute, on the host. */
  | { readonly kind: "module"; readonly path: string }
  /** A file of the host that the guest sees as `name` in /usr/bin. */
  | { readonly kind: "host"; readonly path: string; readonly name: string }
  /** A guest path; without a slash it is looked up in the guest's PATH. */
  | { readonly kind: "guest"; readonly path: string };

/** workload:NAME is a program of userland/programs/workloads. */
const WORKLOAD = "workload:";
const MODULE = /\.[cm]?[jt]s$/;

/** Throws Failure when there is no such program on the host, or it cannot be run. */
export async function resolveProgram(
  options: Pick<RunOptions, "program" | "root">,
  progress: (text: string) => void,
): Promise<Resolved> {
  const { program } = options;
  if (program.startsWith(WORKLOAD)) return workload(program);
  if (isNpmProgram(program))
    return hostProgram(await fetchNpmProgram(parseNpmProgram(program), { progress }), program);
  if (
    MODULE.test(program) &&
    (options.root === null || statSync(program, { throwIfNoEntry: false }) !== undefined)
  ) {
    return hostProgram(resolve(program), program);
  }
  if (options.root !== null) return { kind: "guest", path: program };
  return hostProgram(resolve(program), program);
}

function workload(program: string): Resolved {
  const name = program.slice(WORKLOAD.length) as WorkloadName;
  if (!WORKLOADS.includes(name))
    throw new Failure(`${program}: the workloads are ${WORKLOADS.join(", ")}`, STATUS.NOT_FOUND);
  return { kind: "module", path: workloadPath(name) };
}

function hostProgram(path: string, program: string): Resolved {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    const known = WORKLOADS.find((name) => program === name || program === `${name}.ts`);
    const hint = program.includes("/")
      ? ""
      : known === undefined
        ? " in this folder; with --root DIR it is looked up in the guest's PATH"
        : ` in this folder; the workload is ${WORKLOAD}${known}`;
    throw new Failure(`${program}: there is no such program${hint}`, STATUS.NOT_FOUND);
  }
  if (MODULE.test(path)) {
    if (!stat.isFile()) throw new Failure(`${program}: is not a file`, STATUS.NOT_EXECUTABLE);
    return { kind: "module", path: realpathSync(path) };
  }
  checkProgramFile(path);
  return { kind: "host", path: realpathSync(path), name: basename(path) };
}
