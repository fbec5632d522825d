/** `sternix run` leaves, whatever hangs. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { STATUS } from "../../userland/cli/failure.ts";

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
const library = JSON.stringify(fileURLToPath(new URL("../../userland/index.ts", import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "sternix-"));
test.after.always(() => rmSync(folder, { recursive: true }));

/** Seconds that nobody else sleeps, far longer than the test takes. */
const SLEEP = 86_000 + (process.pid % 1000);
/** The child process that a CPU waits for lives on; it is ended here. */
function sitting(): boolean {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, "latin1") !== `sleep\0${SLEEP}\0`) continue;
      process.kill(Number(pid));
      return true;
    } catch {
      // It has just ended.
    }
  return false;
}

/** Runs a program of that body; once it has said "ready", it is sent the signal. */
async function run(name: string, cpus: number, body: string, signal?: NodeJS.Signals) {
  const file = join(folder, `${name}.ts`);
  writeFileSync(
    file,
    `import { program } from ${library};
import { execFileSync } from "node:child_process";
export default program(function* (sys) {
${body}
}, {
  *sits(sys, argv) {
    yield* sys.write(Number(argv[1]), "x");
    execFileSync("sleep", ["${SLEEP}"]);
  },
});
`,
  );
  const child = spawn(process.execPath, [main, "run", "--cpus", String(cpus), file], { stdio: "pipe" });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (part) => (stderr += part));
  child.stdout.on("data", (part) => {
    if (signal !== undefined && String(part).includes("ready")) child.kill(signal);
  });
  const status = await new Promise((resolve) => child.once("exit", resolve));
  return { status, stderr };
}

test("a signal that the program catches, and that never reaches it", async (t) => {
  const body = `  yield* sys.sigaction(2, () => {});
  yield* sys.write(1, "ready\\n");
  for (;;);`;
  const { status, stderr } = await run("deaf", 1, body, "SIGINT");
  t.is(status, STATUS.FAILED);
  t.regex(stderr, /^sternix: SIGINT does not reach the program within 10 s$/m);
  t.regex(stderr, /^ {2}task \d+ \(deaf\.ts\) .*running/m, "and what it does");
});

test("a program that has ended, while a CPU's thread sits in a call of the host", async (t) => {
  const body = `  const page = yield* sys.ok(sys.mapShared(4096));
  yield* sys.ok(sys.call("getcpu", page, 0, 0));
  const here = sys.memory.read(page, 1)[0];
  const other = (yield* sys.cpus()).find((cpu) => cpu !== here);
  const [from, to] = yield* sys.pipe();
  yield* sys.ok(sys.forkOn(other, "sits", [to]));
  yield* sys.read(from, new Uint8Array(1));
  return 3;`;
  const { status, stderr } = await run("sits", 2, body);
  t.is(status, 3, "the program's status");
  t.regex(stderr, /^sternix: CPU \d .*its worker is ended$/m);
  t.true(sitting(), "that call has not returned");
});
