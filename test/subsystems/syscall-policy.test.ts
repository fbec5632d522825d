import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { Machine } from "../../userland/index.ts";
import { judge, parseRules, rulesFor } from "../../userland/subsystems/syscall-policy/rules.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const guest = (name: string) => new URL(`../guest/bin/${name}`, import.meta.url);
const spec = (rules: string) => `syscall-policy?rules=${encodeURIComponent(rules)}`;

test("the first rule that fits decides; a prefix ends at a slash", (t) => {
  const rules = parseRules("allow * /srv/me # mine\n\ndeny:ENOENT 7 /srv\ndeny * /srv openat,mkdirat\n");
  const as = (uid: number, call: string, path: string) => judge(rulesFor(rules, uid, call), call, path);
  t.is(as(7, "openat", "/srv/me/x"), 0);
  t.is(as(7, "openat", "/srv"), -2);
  t.is(as(8, "openat", "/srv/you"), -13);
  t.is(as(8, "newfstatat", "/srv/you"), 0);
  t.is(as(7, "openat", "/srvs"), 0);
  t.is(judge(rulesFor(parseRules("deny * /"), 1, "x"), "x", "/any"), -13);
  const moving = parseRules("allow 5 /srv/a\ndeny * /srv/a/b\nallow * /srv\ndeny * /srv/c");
  t.is(judge(moving, "renameat2", "/srv"), -13, "something in it must keep its name");
  t.is(judge(moving, "mount", "/"), -13);
  t.is(judge(moving, "openat", "/srv"), 0);
  t.is(judge(parseRules("allow * /srv\ndeny * /srv/c"), "renameat2", "/srv"), 0, "the first rule that fits");
});

test("rules that are wrong are refused by line", (t) => {
  for (const text of ["deny * etc", "allow:EPERM * /", "deny:EWHAT * /", "forbid * /", "deny x /"])
    t.throws(() => parseRules(`# one\n${text}`), { message: /^line 2: / }, text);
});

test.serial(
  "no way around: dots, working directory, links and links to links are seen through",
  async (t) => {
    const host = mkdtempSync(join(tmpdir(), "sternix-"));
    mkdirSync(join(host, "inner"));
    writeFileSync(join(host, "file"), "secret");
    // So that nothing but the policy stands in the way.
    chmodSync(host, 0o777);
    chmodSync(join(host, "file"), 0o666);
    await using machine = await Machine.boot({
      cpus: 2,
      memory: 64 << 20,
      mounts: [{ host, guest: "/secret", writable: true }],
      subsystems: [spec("deny 1000 /secret")],
    });
    const mine = await machine.spawn(fixture("escape.ts"), { uid: 1000 }).output();
    const root = await machine.spawn(fixture("cat.ts"), { argv: ["cat", "/secret/file"] }).output();
    const reports = machine.reports();
    await machine.shutdown();
    rmSync(host, { recursive: true });
    const tries = JSON.parse(mine.stdout);
    t.deepEqual(
      Object.fromEntries(Object.entries(tries).filter(([, result]) => result !== -13)),
      {},
      mine.stdout,
    );
    t.is(root.stdout, "secret", "the rule is about one user");
    t.is(reports["syscall-policy"], "calls denied: 10\n");
  },
);

test.serial("what was open before does not help, nor do other ways to name a path", async (t) => {
  const host = mkdtempSync(join(tmpdir(), "sternix-"));
  mkdirSync(join(host, "secret"));
  writeFileSync(join(host, "secret", "file"), "secret");
  writeFileSync(join(host, "secret", "interpreter"), "", { mode: 0o755 });
  const tmp = mkdtempSync(join(tmpdir(), "sternix-"));
  writeFileSync(join(tmp, "script"), "#! /outer/secret/interpreter -x\n", { mode: 0o755 });
  for (const folder of [host, join(host, "secret"), tmp]) chmodSync(folder, 0o777);
  chmodSync(join(host, "secret", "file"), 0o666);
  const log: string[] = [];
  await using machine = await Machine.boot({
    cpus: 1,
    memory: 64 << 20,
    mounts: [
      { host, guest: "/outer", writable: true },
      { host: tmp, guest: "/tmp", writable: true },
    ],
    subsystems: [spec("deny 1000 /outer/secret")],
    log: (line) => log.push(line),
  });
  const { stdout, stderr } = await machine.spawn(fixture("inherit.ts")).output();
  t.is(stderr, "");
  await machine.shutdown();
  rmSync(host, { recursive: true });
  rmSync(tmp, { recursive: true });
  const { denied, allowed } = JSON.parse(stdout) as Record<string, Record<string, number>>;
  t.deepEqual(Object.fromEntries(Object.entries(denied!).filter(([, result]) => result !== -13)), {}, stdout);
  t.is(Object.keys(denied!).length, 15);
  t.deepEqual([allowed!.read, allowed!.fchdir], [6, 0]);
  t.true(allowed!.up! > 0);
  t.deepEqual(log, []);
});

for (const cpus of [1, 2]) {
  test.serial(`rules are replaced while programs run, on ${cpus} CPU(s)`, async (t) => {
    const log: string[] = [];
    await using machine = await Machine.boot({
      cpus,
      memory: 64 << 20,
      subsystems: ["syscall-policy"],
      log: (line) => log.push(line),
    });
    const write = async (text: string) => {
      const argv = ["write", "/proc/syscall-policy", text];
      return (await machine.spawn(fixture("write.ts"), { argv }).output()).code;
    };
    const running = [1, 2, 3].map(() =>
      machine.spawn(fixture("policy-program.ts"), { argv: ["program", "/etc/passwd"], uid: 1000 }),
    );
    const said = running.map((one) => one.stdout.pipeThrough(new TextDecoderStream()).getReader());
    /** The output of each, until it ends so. */
    const until = (end: string): Promise<string[]> =>
      Promise.all(
        said.map(async (reader) => {
          let text = "";
          while (!text.endsWith(end)) {
            const { done, value } = await reader.read();
            if (done) break;
            text += value;
          }
          return text;
        }),
      );
    t.is(await write("deny:EPERM 1000 /etc\n"), 0);
    t.is(await write("this is no rule"), 22, "a wrong rule changes nothing");
    const text = await machine.spawn(fixture("cat.ts"), { argv: ["cat", "/proc/syscall-policy"] }).output();
    t.is(text.stdout, "deny:EPERM 1000 /etc\n");
    const other = machine.spawn(fixture("write.ts"), {
      argv: ["write", "/proc/syscall-policy", ""],
      uid: 1000,
    });
    t.is((await other.output()).code, 13, "only root writes rules");
    for (const text of await until("refused -1\n")) t.is(text, "ready\nrefused -1\n");
    t.is(await write("allow * /\n"), 0);
    for (const text of await until("allowed 0\n")) t.is(text, "allowed 0\n");
    await machine.shutdown();
    t.deepEqual(log, [
      "syscall-policy: rules refused, the old ones stay: line 1: give allow|deny[:ERRNO] UID|* /PATH [CALL,CALL...]",
    ]);
  });
}

test.serial("unmodified riscv64 programs obey", async (t) => {
  const log: string[] = [];
  await using machine = await Machine.boot({
    cpus: 1,
    memory: 64 << 20,
    subsystems: [spec("deny:EROFS * /tmp mkdirat")],
    log: (line) => log.push(line),
  });
  const { stdout } = await machine.spawn(guest("files")).output();
  await machine.shutdown();
  t.regex(stdout, /^mkdir -30\n/);
  t.deepEqual(log, []);
});
