import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { fixture } from "../guest/cases.ts";

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sternix-run-"));

const sternix = (args: readonly string[], input = "") =>
  spawnSync(process.execPath, [main, "run", ...args], {
    encoding: "utf8",
    input,
    timeout: 60_000,
    cwd: folder,
  });

test.serial("output, error output, input and the exit status pass through", (t) => {
  const hello = sternix([fixture("hello")]);
  t.deepEqual([hello.stdout, hello.stderr, hello.status], ["hello from riscv64\n", "", 0]);
  const text = "line\n".repeat(50_000);
  const echo = sternix([fixture("echo")], text);
  t.is(echo.stdout, text);
  t.deepEqual([echo.stderr, echo.status], ["copied\n", 0]);
  t.is(sternix([fixture("exit"), "42"]).status, 42);
});

test.serial("a program killed by a signal ends with 128 and its number", (t) => {
  t.is(sternix([fixture("fault"), "read"]).status, 139);
  t.is(sternix([fixture("fault"), "illegal"]).status, 132);
});

test.serial("arguments, environment and working directory reach the program", (t) => {
  mkdirSync(join(folder, "work"), { recursive: true });
  const args = sternix(["--env", "GUEST=a b", fixture("args"), "--cpus", "9"]);
  t.true(args.stdout.includes("argv[1]=--cpus\nargv[2]=9\n"));
  t.true(args.stdout.includes("env GUEST=a b\n"));
  const cwd = sternix(["--mount", `${folder}/work:/w/deep`, "--cwd", "/w/deep", fixture("file"), "cwd"]);
  t.is(cwd.stdout, "/w/deep\n");
});

test.serial("a mount is read-only unless it is writable, and cannot be left", (t) => {
  const inside = join(folder, "mounted");
  mkdirSync(inside, { recursive: true });
  writeFileSync(join(folder, "secret"), "secret");
  writeFileSync(join(inside, "file"), "contents\n");
  symlinkSync(join(folder, "secret"), join(inside, "absolute"));
  symlinkSync("../secret", join(inside, "relative"));
  const file = (mode: string, ...args: string[]) =>
    sternix(["--mount", `${inside}:/m${mode}`, fixture("file"), ...args]).stdout;
  t.is(file("", "read", "/m/file"), "contents\n");
  t.is(file("", "write", "/m/file", "changed"), "-30\n");
  t.is(file("", "unlink", "/m/file"), "-30\n");
  t.is(file("", "read", "/m/absolute"), "-2\n");
  t.is(file("", "read", "/m/relative"), "-2\n");
  t.is(file("", "read", "/m/../m/../../secret"), "-2\n");
  t.is(file(":rw", "write", "/m/new", "made inside"), "11\n");
  t.is(readFileSync(join(inside, "new"), "utf8"), "made inside");
});

test.serial("a single file can be mounted, and nothing around it is seen", (t) => {
  const one = join(folder, "one.txt");
  writeFileSync(one, "contents\n");
  const file = (mode: string, ...args: string[]) =>
    sternix(["--mount", `${one}:/m/one${mode}`, fixture("file"), ...args]).stdout;
  t.is(file("", "read", "/m/one"), "contents\n");
  t.is(file("", "write", "/m/one", "changed"), "-30\n");
  t.is(file("", "read", "/m/secret"), "-2\n");
  t.is(file(":rw", "write", "/m/one", "changed"), "7\n");
  t.is(readFileSync(one, "utf8"), "changed");
  const onFolder = sternix(["--mount", `${one}:/tmp`, fixture("hello")]);
  t.is(onFolder.status, 125);
  t.is(onFolder.stderr, `sternix: cannot mount ${one} on /tmp: Not a directory (ENOTDIR)\n`);
});

test.serial("with --root the program is a guest path, or a name in the guest's PATH", (t) => {
  const root = join(folder, "root");
  for (const name of ["bin", "dev", "proc", "tmp", "etc"]) mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, "bin", "hi"), readFileSync(fixture("hello")));
  chmodSync(join(root, "bin", "hi"), 0o755);
  writeFileSync(join(root, "bin", "script"), "#!/bin/hi\n");
  chmodSync(join(root, "bin", "script"), 0o755);
  writeFileSync(join(root, "bin", "plain"), readFileSync(fixture("hello")), { mode: 0o644 });
  const run = (program: string) => {
    const { stdout, status } = sternix(["--root", root, program]);
    return [stdout, status];
  };
  t.deepEqual(run("/bin/hi"), ["hello from riscv64\n", 0]);
  t.deepEqual(run("hi"), ["hello from riscv64\n", 0]);
  t.deepEqual(run("/bin/script"), ["hello from riscv64\n", 0]);
  t.deepEqual(run("/bin/none"), ["", 127]);
  t.deepEqual(run("none"), ["", 127]);
  t.deepEqual(run("/bin/plain"), ["", 126]);
});

test.serial("a user's mistake is one line on standard error, without a stack", (t) => {
  writeFileSync(join(folder, "words"), "just words", { mode: 0o755 });
  writeFileSync(join(folder, "plain"), readFileSync(fixture("hello")), { mode: 0o644 });
  for (const [args, status] of [
    [["--frob", "x"], 125],
    [["--mount", "/nowhere:/x", fixture("hello")], 125],
    [["--memory", "1K", fixture("hello")], 125],
    [["--cwd", "/nowhere", fixture("hello")], 125],
    [["--strace=/nowhere/file", fixture("hello")], 125],
    [["--stats=/nowhere/file", fixture("hello")], 125],
    [["./plain"], 126],
    [["missing"], 127],
    [["./words"], 126],
    [[process.execPath], 126],
    [["npm:../../etc/passwd"], 125],
  ] as const) {
    const run = sternix([...args]);
    t.is(run.status, status, args.join(" "));
    t.regex(run.stderr, /^sternix: [^\n]+\n$/, args.join(" "));
    t.is(run.stdout, "");
  }
});

test.serial("--strace prints system calls as strace does, to standard error or a file", (t) => {
  const traced = sternix(["--strace", fixture("hello")]);
  t.is(traced.stdout, "hello from riscv64\n");
  t.regex(traced.stderr, /write\(1, "hello from riscv64\\n", 19\) += 19\n/);
  t.regex(traced.stderr, /exit_group\(0\) += \?\n/);
  t.regex(traced.stderr, /\+\+\+ exited with 0 \+\+\+\n$/);
  const file = join(folder, "trace");
  t.is(sternix([`--strace=${file}`, fixture("fault"), "read"]).stderr, "");
  t.regex(readFileSync(file, "utf8"), /--- SIGSEGV \{.*si_addr=(0x0|NULL)\} ---\n[\s\S]*killed by SIGSEGV/);
});

test.serial("--stats prints a table, and writes JSON with a version", (t) => {
  t.regex(
    sternix(["--stats", fixture("fork")]).stderr,
    /^system calls: \d+\n[\s\S]*clone[\s\S]*grace periods/,
  );
  const file = join(folder, "stats.json");
  sternix(["--cpus", "2", `--stats=${file}`, fixture("pipe")]);
  const stats = JSON.parse(readFileSync(file, "utf8"));
  t.is(stats.version, 1);
  t.is(stats.cpus.length, 2);
  t.true(stats.syscalls.pipe2 >= 4);
  t.is(stats.syscalls.clone, 2);
  t.true(stats.contextSwitches > 0);
});

const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => child.on("exit", (status) => resolve(status)));
const saying = (child: ChildProcess, text: string) =>
  new Promise<void>((resolve) => {
    let seen = "";
    child.stdout!.on("data", (data) => {
      seen += data;
      if (seen.includes(text)) resolve();
    });
  });

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  test.serial(`${signal} reaches a guest that only computes`, async (t) => {
    const child = spawn(process.execPath, [main, "run", "--cpus", "1", fixture("spin")], { stdio: "pipe" });
    const end = ended(child);
    await saying(child, "spinning");
    child.kill(signal);
    t.is(await end, status);
  });
}

test.serial("a second SIGQUIT also prints what the machine does, to standard error", async (t) => {
  const program = join(folder, "deaf.ts");
  const library = JSON.stringify(fileURLToPath(new URL("../../userland/index.ts", import.meta.url)));
  writeFileSync(
    program,
    `import { program } from ${library};
export default program(function* (sys) {
  yield* sys.sigaction(3, "ignore");
  yield* sys.write(1, "deaf\\n");
  for (;;) yield* sys.sigsuspend();
});
`,
  );
  const child = spawn(process.execPath, [main, "run", "--cpus", "1", program], { stdio: "pipe" });
  let stderr = "";
  child.stderr!.setEncoding("utf8").on("data", (part) => (stderr += part));
  const end = ended(child);
  await saying(child, "deaf");
  child.kill("SIGQUIT");
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(stderr, "", "the first one is the program's alone");
  // However slow this machine is: two of them come within two seconds.
  for (const start = Date.now(); stderr === "" && Date.now() - start < 30_000; ) {
    child.kill("SIGQUIT");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.regex(stderr, /^ {2}CPU 0: /m);
  t.regex(stderr, /^ {2}RCU: /m);
  child.kill("SIGTERM");
  t.is(await end, 143);
});

test.serial("a guest that writes into a pipe that nobody reads can be ended", async (t) => {
  const program = join(folder, "fills.ts");
  const library = JSON.stringify(fileURLToPath(new URL("../../userland/index.ts", import.meta.url)));
  writeFileSync(
    program,
    `import { program } from ${library};
export default program(function* (sys) {
  for (let n = 1; ; n++) {
    yield* sys.write(2, n + "\\n");
    yield* sys.write(1, "y".repeat(20_000));
  }
});
`,
  );
  const fifo = join(folder, "fifo");
  t.is(spawnSync("mkfifo", [fifo]).status, 0);
  const full = openSync(fifo, "r+");
  const child = spawn(process.execPath, [main, "run", "--cpus", "1", program], {
    stdio: ["ignore", full, "pipe"],
  });
  const end = ended(child);
  // A pipe holds 64 KiB: the fourth write waits.
  let said = "";
  for await (const bytes of child.stderr!) if ((said += bytes).includes("4\n")) break;
  child.kill("SIGTERM");
  t.is(await end, 143);
  t.is(said, "1\n2\n3\n4\n");
  closeSync(full);
});

test.serial(
  "without standard input a guest has no descriptor 0, as with < /dev/null it has an empty one",
  (t) => {
    const shell = (redirection: string) =>
      spawnSync(
        "sh",
        ["-c", `"$0" "$1" run "$2" ${redirection}; echo $?`, process.execPath, main, fixture("echo")],
        {
          encoding: "utf8",
        },
      ).stdout;
    t.is(shell("</dev/null"), "0\n");
    if (process.platform === "linux") t.is(shell("<&-"), "9\n");
  },
);

test.serial("output that cannot be written is never taken for written", (t) => {
  if (process.platform !== "linux") return t.pass();
  const shell = (...words: readonly string[]) =>
    spawnSync("sh", ["-c", `"$0" ${words.join(" ")}; echo $? >&2`, process.execPath, main, fixture("echo")], {
      encoding: "utf8",
      input: "text",
    }).stderr;
  t.regex(shell('"$1" --version >&-'), /^sternix: standard output is closed[^\n]*\n125\n$/);
  t.regex(
    shell('"$1" --help >/dev/full'),
    /^sternix: standard output cannot be written \(ENOSPC[^\n]*\n125\n$/,
  );
  // A guest is told by its own write(2): echo ends with 1.
  t.is(shell('"$1" run "$2" >&-'), "1\n");
  t.is(shell('"$1" run "$2" >/dev/full'), "1\n");
  t.is(shell('"$1" run "$2" >/dev/null'), "copied\n0\n");
});

test.serial(
  "what a child process is started with in place of output it shall not have is no closed output",
  (t) => {
    const run = spawnSync(process.execPath, [main, "run", fixture("echo")], {
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    t.is(run.stderr, "copied\n");
    t.is(run.status, 0);
  },
);

test.serial("too little address space is one line that says so", (t) => {
  if (process.platform !== "linux") return t.pass();
  // Which of heap, memory and threads does not fit depends on what Node itself takes.
  for (const kib of [3_000_000, 4_000_000, 5_500_000]) {
    const words = ["-c", `ulimit -v ${kib}; exec "$0" "$@"`, process.execPath, main, "run", fixture("hello")];
    const run = spawnSync("sh", words, { encoding: "utf8", timeout: 60_000 });
    t.regex(run.stderr, /^sternix: [^\n]*address space[^\n]*`ulimit -v`[^\n]*\n$/, `${kib} KiB`);
    t.is(run.status, 125);
  }
});
