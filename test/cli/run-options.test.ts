import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { Failure } from "../../userland/cli/failure.ts";
import { parseRunOptions } from "../../userland/cli/run-options.ts";

const folder = mkdtempSync(join(tmpdir(), "sternix-options-"));
const file = join(folder, "file");
writeFileSync(file, "");

const failure = (argv: string[]) => {
  try {
    parseRunOptions(argv);
  } catch (error) {
    if (error instanceof Failure) return `${error.status} ${error.message}`;
    throw error;
  }
  return "accepted";
};

test("everything behind the program belongs to the guest", (t) => {
  const options = parseRunOptions(["--cpus", "3", "prog", "--cpus", "9", "-c", "x y", "--", "--help"]);
  t.is(options.machine.cpus, 3);
  t.is(options.program, "prog");
  t.deepEqual(options.args, ["--cpus", "9", "-c", "x y", "--", "--help"]);
});

test("-- ends the options and is not passed on", (t) => {
  const options = parseRunOptions(["--", "--odd-name", "--"]);
  t.is(options.program, "--odd-name");
  t.deepEqual(options.args, ["--"]);
});

test("every option takes its value after a space or after =", (t) => {
  const spaced = parseRunOptions(["--memory", "64M", "--cwd", "/x", "--env", "A=1", "--root", folder, "p"]);
  const joined = parseRunOptions(["--memory=64M", "--cwd=/x", "--env=A=1", `--root=${folder}`, "p"]);
  t.deepEqual(spaced, joined);
  t.is(spaced.machine.memory, 64 * 1024 ** 2);
  t.deepEqual(spaced.env, { A: "1" });
  t.is(spaced.machine.root, folder);
});

test("--mount repeats, is read-only unless asked, and takes a relative host folder", (t) => {
  const mounts = parseRunOptions([
    "--mount",
    `${folder}:/a`,
    "--mount",
    `${folder}:/b:rw`,
    "--mount",
    ".:/c",
    "p",
  ]).machine.mounts!;
  t.deepEqual(
    mounts.map(({ guest, writable }) => [guest, writable]),
    [
      ["/a", false],
      ["/b", true],
      ["/c", false],
    ],
  );
  t.is(mounts[2]!.host, process.cwd());
});

test("--env repeats, keeps further equals signs, and the last one wins", (t) => {
  t.deepEqual(parseRunOptions(["--env", "A=b=c", "--env", "E=", "--env", "A=d", "p"]).env, { A: "d", E: "" });
});

test("--strace and --stats do not swallow the program", (t) => {
  const options = parseRunOptions(["--strace", "--stats=out.json", "p"]);
  t.deepEqual(options.strace, { file: null });
  t.is(options.stats?.file, join(process.cwd(), "out.json"));
  t.is(options.program, "p");
  t.is(parseRunOptions(["p"]).strace, null);
});

test("--debug is a switch, --subsystem-timeout a number of milliseconds", (t) => {
  const { debug, subsystemTimeout } = parseRunOptions(["--debug", "--subsystem-timeout", "250", "p"]).machine;
  t.deepEqual([debug, subsystemTimeout], [true, 250]);
  const plain = parseRunOptions(["p"]).machine;
  t.deepEqual([plain.debug, plain.subsystemTimeout], [undefined, undefined]);
});

for (const [what, argv, message] of [
  ["a value of a switch", ["--debug=yes", "p"], "--debug takes no value"],
  ["a timeout of nothing", ["--subsystem-timeout", "0", "p"], "--subsystem-timeout 0: give milliseconds"],
  ["an unknown option", ["--frob", "p"], "unknown option --frob"],
  ["a short option", ["-v", "p"], "unknown option -v"],
  ["a name inherited from Object", ["--constructor", "p"], "unknown option --constructor"],
  ["a missing program", ["--cpus", "2"], "no program given"],
  ["a missing value", ["--cpus"], "--cpus needs a value"],
  ["no CPUs", ["--cpus", "0", "p"], "--cpus 0"],
  ["a fraction of a CPU", ["--cpus", "1.5", "p"], "--cpus 1.5"],
  ["too many CPUs", ["--cpus", "31", "p"], "--cpus 31"],
  ["a size without sense", ["--memory", "lots", "p"], "--memory lots"],
  ["too little memory", ["--memory", "1M", "p"], "too little"],
  ["too much memory", ["--memory", "5G", "p"], "too much"],
  ["a missing root", ["--root", join(folder, "none"), "p"], "none: there is no such folder"],
  ["a root that is a file", ["--root", file, "p"], "file: is not a folder"],
  ["a mount without a guest path", ["--mount", folder, "p"], "give HOST:GUEST"],
  ["a mount on a relative guest path", ["--mount", `${folder}:x`, "p"], "give HOST:GUEST"],
  ["a mount with an unknown mode", ["--mount", `${folder}:/x:rx`, "p"], "give HOST:GUEST"],
  ["a mount of a missing folder", ["--mount", `${folder}/none:/x`, "p"], "there is no file or folder"],
  ["a mount of a device", ["--mount", "/dev/null:/x", "p"], "neither a folder nor a file"],
  ["an environment variable without =", ["--env", "A", "p"], "--env A"],
  ["a relative working directory", ["--cwd", "x", "p"], "--cwd x"],
] as const) {
  test(`${what} is refused with one line and status 125`, (t) => {
    const got = failure([...argv]);
    t.true(got.startsWith("125 ") && got.includes(message), got);
    t.false(got.includes("\n"));
  });
}
