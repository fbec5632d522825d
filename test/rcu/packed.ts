/** A project of somebody else's, with one of our packages as `npm pack` makes it. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Runs a command and returns what it printed. Throws with its output when it fails, or takes five minutes. */
export function run(cwd: string, command: readonly string[]): string {
  const [file, ...args] = command;
  const { status, signal, stdout, stderr, error } = spawnSync(file!, args, {
    cwd,
    encoding: "utf8",
    timeout: 300_000,
  });
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(`${command.join(" ")}: ${signal ?? `status ${status}`}\n${stdout}${stderr}`);
  return stdout;
}

/** Packs the package in `folder` and unpacks it into the project's node_modules, without its dependencies: where it is then. */
export function installPacked(folder: string, project: string, name: string): string {
  run(folder, ["npm", "pack", "--silent", "--pack-destination", project]);
  const tarball = readdirSync(project).find((file) => file.endsWith(".tgz"))!;
  const installed = join(project, "node_modules", name);
  mkdirSync(installed, { recursive: true });
  run(project, ["tar", "-xzf", tarball, "-C", installed, "--strip-components=1"]);
  return installed;
}
