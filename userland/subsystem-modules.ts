/**
 * Finding subsystems: what the user wrote becomes the URL of a module, which the host and every CPU load.
 *
 * A module's `import ... from "sternix"` means the Sternix that runs it, wherever the module lies: with a copy of its own it
 * would have heaps and structs of its own.
 */
import { existsSync } from "node:fs";
import { registerHooks } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { SubsystemModule } from "../kernel/machine/cpu-main.ts";
import { SubsystemError, type SubsystemUse } from "../kernel/subsystem/boot.ts";
import { isSubsystem } from "../kernel/subsystem/define.ts";
import { syscallName } from "../syscalls/table.ts";

/** A subsystem as `Machine.boot({ subsystems })` takes it. */
export type SubsystemSpec =
  /** A module, with options behind a "?": a URL, a path, or the name of one that comes with Sternix. */
  | string
  | URL
  | {
      readonly module: string | URL;
      readonly options?: Readonly<Record<string, string | number | boolean>>;
    };

const EXTENSION = import.meta.url.endsWith(".ts") ? "ts" : "js";

/** Subsystems that come with Sternix. */
export const BUNDLED = ["syscall-policy", "sysstat", "kvcache"] as const;

const bundledUrl = (name: string): string =>
  new URL(EXTENSION === "ts" ? `./subsystems/${name}/index.ts` : `./${name}.js`, import.meta.url).href;

/** This Sternix's own files for the names that it is published under. */
const SELF: Readonly<Record<string, string>> =
  EXTENSION === "ts"
    ? { sternix: "./index.ts", "sternix/rcu": "../rcu/index.ts", "sternix/rcu/kernel": "../rcu/kernel.ts" }
    : { sternix: "./index.js", "sternix/rcu": "./rcu.js", "sternix/rcu/kernel": "./rcu-kernel.js" };

let registered = false;

/** Lets modules that are loaded on this thread from now on import this Sternix by its name. */
export function registerSelf(): void {
  if (registered) return;
  registered = true;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const own = Object.hasOwn(SELF, specifier) ? SELF[specifier] : undefined;
      if (own === undefined) return nextResolve(specifier, context);
      return nextResolve(new URL(own, import.meta.url).href, context);
    },
  });
}

/** Where the module is, and with which options. Throws SubsystemError when there is none. */
export function subsystemModule(spec: SubsystemSpec): SubsystemModule {
  const { module, options } =
    typeof spec === "string" || spec instanceof URL
      ? { module: spec, options: {} }
      : { options: {}, ...spec };
  const text = typeof module === "string" ? module : module.href;
  const mark = text.indexOf("?");
  const name = mark < 0 ? text : text.slice(0, mark);
  const query = Object.fromEntries(new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)));
  const url = moduleUrl(name);
  if (url.protocol !== "file:" || !existsSync(url))
    throw new SubsystemError(name, `there is no such module; bundled ones are ${BUNDLED.join(", ")}`);
  return { name, url: url.href, options: { ...query, ...options } };
}

function moduleUrl(name: string): URL {
  if ((BUNDLED as readonly string[]).includes(name)) return new URL(bundledUrl(name));
  if (/^[a-z][a-z0-9+.-]+:/i.test(name)) return new URL(name);
  return pathToFileURL(resolve(name));
}

/** Loads a module on this thread. Rejects with SubsystemError for what is none. */
export async function loadSubsystem({ name, url, options }: SubsystemModule): Promise<SubsystemUse> {
  registerSelf();
  let exported: unknown;
  try {
    exported = ((await import(url)) as { default?: unknown }).default;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SubsystemError(name, `cannot be loaded: ${message}`, { cause: error });
  }
  if (!isSubsystem(exported))
    throw new SubsystemError(name, "its default export is not defineSubsystem(...)");
  return { subsystem: exported, options };
}

/** Loads the modules of a machine. Rejects with SubsystemError, also when a literal takes the number of one of Linux's calls. */
export async function loadSubsystems(modules: readonly SubsystemModule[]): Promise<SubsystemUse[]> {
  const uses: SubsystemUse[] = [];
  for (const module of modules) uses.push(await loadSubsystem(module));
  checkCallNumbers(uses);
  return uses;
}

function checkCallNumbers(uses: readonly SubsystemUse[]): void {
  for (const { subsystem } of uses) {
    if (typeof subsystem.syscalls === "function") continue;
    for (const { nr, name } of subsystem.syscalls ?? [])
      if (!syscallName(nr).startsWith("syscall_"))
        throw new SubsystemError(subsystem.name, `system call ${name}: number ${nr} is ${syscallName(nr)}'s`);
  }
}
