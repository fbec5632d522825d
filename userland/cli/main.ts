#!/usr/bin/env node
/** The `sternix` command: reads the words, reports mistakes in one line each, and leaves with the right status. */
import { readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { stripVTControlCharacters } from "node:util";
import { type ArgsDef, type CommandDef, defineCommand, renderUsage } from "citty";
import { SIGPIPE } from "../../kernel/uapi/signal.ts";
import { leave } from "../leave.ts";
import { wasClosed } from "../machine/closed-streams.ts";
import { MAX_CPUS } from "../machine/size.ts";
import { privateCacheFolder } from "./cache-folder.ts";
import { Failure, STATUS } from "./failure.ts";
import { parseRunOptions, type RunOptions } from "./run-options.ts";

// Sources are compiled once per user, not once per run; the rest is imported below, after this. Without a folder, Node.js would
// keep the code in the folder for temporary files, where another user can put code of his own first.
const compiled = privateCacheFolder("compiled");
if (compiled !== null) enableCompileCache(compiled);

const version: string = JSON.parse(readFileSync(packageJson(), "utf8")).version;

/** package.json lies above dist/ as it lies above userland/cli/. */
function packageJson(): URL {
  return new URL(import.meta.url.endsWith(".ts") ? "../../package.json" : "../package.json", import.meta.url);
}

const run = defineCommand<ArgsDef>({
  meta: {
    name: "run",
    description: "Boot a machine, run one program in it, and leave with its exit status",
  },
  args: {
    cpus: { type: "string", valueHint: "N", description: `number of CPUs, 1 to ${MAX_CPUS} (default 2)` },
    root: {
      type: "string",
      valueHint: "DIR",
      description: "host folder that becomes /, read-only (default: an empty tmpfs)",
    },
    mount: {
      type: "string",
      valueHint: "HOST:GUEST[:rw]",
      description: "show a host folder to the guest; may be repeated",
    },
    env: { type: "string", valueHint: "K=V", description: "set an environment variable; may be repeated" },
    cwd: { type: "string", valueHint: "DIR", description: "working directory in the guest (default /)" },
    memory: {
      type: "string",
      valueHint: "SIZE",
      description: "guest memory, such as 512M or 2G (default 2G)",
    },
    strace: {
      type: "string",
      valueHint: "FILE",
      description: "print system calls to standard error, or to =FILE",
    },
    subsystem: {
      type: "string",
      valueHint: "MODULE[?OPTION=VALUE]",
      description: "plug in a subsystem: a module, or kvcache, sysstat, syscall-policy; may be repeated",
    },
    "subsystem-timeout": {
      type: "string",
      valueHint: "MS",
      description:
        "how long a subsystem may take for a callback, or to load (8000 at least), in milliseconds (default 10000)",
    },
    debug: {
      type: "boolean",
      description: "check the kernel's heap: freed objects are overwritten and watched; slower",
    },
    stats: {
      type: "string",
      valueHint: "FILE.json",
      description: "print what the machine did, or write it to =FILE.json",
    },
    program: {
      type: "positional",
      description:
        "a riscv64 Linux program or a .ts/.js program of this machine, a guest path with --root, npm:PACKAGE[@VERSION]/PATH, or workload:NAME; everything behind it belongs to the program",
    },
  },
});

const torture = defineCommand<ArgsDef>({
  meta: { name: "torture", description: "Torture the RCU subsystem; status 0 if it held (torture --help)" },
});

const checkCommand = async () => (await import("../check/help.ts")).checkHelp;
const benchCommand = async () => (await import("../bench/command.ts")).bench;

const sternix = defineCommand<ArgsDef>({
  meta: { name: "sternix", version, description: "A Linux kernel for JavaScript" },
  subCommands: { run, bench: benchCommand, check: checkCommand, torture },
});

async function usage(command: CommandDef<ArgsDef>, parent?: CommandDef<ArgsDef>): Promise<string> {
  const lines = (await renderUsage(command, parent)).split("\n").map((line) => line.trimEnd());
  const text = `${lines.join("\n").trimEnd()}\n`;
  return process.stdout.isTTY ? text : stripVTControlCharacters(text);
}

/** Loads what runs a program while the CPUs' threads load theirs. */
async function runEarly(options: RunOptions): Promise<number> {
  const { dropEarlyThreads, startEarlyThreads } = await import("../machine/early-threads.ts");
  if (options.machine.cpus !== undefined) startEarlyThreads(options.machine.cpus);
  try {
    return await (await import("./run.ts")).runProgram(options);
  } finally {
    await dropEarlyThreads();
  }
}

/** Status of the whole command. */
async function main(words: readonly string[]): Promise<number> {
  const [command, ...rest] = words;
  switch (command) {
    case "run":
      if (rest[0] === "--help" || rest[0] === "-h") {
        process.stdout.write(await usage(run, sternix));
        return 0;
      }
      return runEarly(parseRunOptions(rest));
    case "bench":
      if (rest.includes("--help") || rest.includes("-h")) {
        process.stdout.write(await usage(await benchCommand(), sternix));
        return 0;
      }
      return (await import("../bench/bench.ts")).runBench(rest);
    case "check":
      if (rest.includes("--help") || rest.includes("-h")) {
        process.stdout.write(await usage(await checkCommand(), sternix));
        return 0;
      }
      return (await import("../check/command.ts")).runCheck(rest);
    case "torture":
      return (await import("../../rcu/torture/cli.ts")).tortureMain(rest);
    case "--version":
    case "-v":
      process.stdout.write(`${version}\n`);
      return 0;
    case "--help":
    case "-h":
    case "help":
      process.stdout.write(await usage(sternix));
      return 0;
    case undefined:
      throw new Failure("no command given; see `sternix --help`");
    default:
      throw new Failure(
        `unknown ${command.startsWith("-") ? "option" : "command"} ${command}; see \`sternix --help\``,
      );
  }
}

/** What could not be written to standard output, which nobody would see otherwise: the process ends as soon as it is done. */
let unwritten = null as NodeJS.ErrnoException | null;
process.stdout.on("error", (error) => (unwritten ??= error));

try {
  const words = process.argv.slice(2);
  // A guest sees for itself that its output is closed.
  if (words[0] !== "run" && wasClosed(1))
    throw new Failure("standard output is closed: there is nowhere to write to");
  process.exitCode = await main(words);
  await new Promise((resolve) => setImmediate(resolve));
  // A reader that goes away ends a program without a word.
  if (unwritten?.code === "EPIPE") process.exitCode = STATUS.SIGNALED + SIGPIPE;
  else if (unwritten !== null) throw new Failure(`standard output cannot be written (${unwritten.message})`);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`sternix: ${error.message}\n`);
  process.exitCode = error.status;
}
// What the machine left behind (a stuck worker, an open terminal) must not keep the process.
leave(Number(process.exitCode));
