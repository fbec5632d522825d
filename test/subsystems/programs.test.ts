/** All three subsystems at once, under programs that know nothing of them: ours always, busybox and esbuild where they are. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import test from "ava";
import { riscv64Esbuild } from "../../userland/cli/main-job.ts";
import { Machine } from "../../userland/index.ts";
import { cases, expectedOutcomes, fixture, labelOf } from "../guest/cases.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const SUBSYSTEMS = [
  "sysstat",
  "kvcache",
  `syscall-policy?rules=${encodeURIComponent("deny:EROFS * /etc/forbidden")}`,
];
const expected = expectedOutcomes();

test.serial("our guests print and return what they do without subsystems, and nothing leaks", async (t) => {
  const log: string[] = [];
  await using machine = await Machine.boot({
    cpus: 2,
    memory: 256 << 20,
    subsystems: SUBSYSTEMS,
    log: (line) => log.push(line),
  });
  for (const guest of cases) {
    const { code, signal, stdout, stderr } = await machine
      .spawn(pathToFileURL(fixture(guest.argv[0]!)), {
        argv: guest.argv,
        env: guest.env ?? {},
        stdin: guest.stdin === undefined ? "ignore" : { text: guest.stdin },
      })
      .output();
    const wanted = expected[labelOf(guest)]!;
    t.deepEqual([stdout, stderr], [wanted.stdout, wanted.stderr], labelOf(guest));
    t.is(
      signal === null ? code : "killed",
      wanted.status > 128 && signal !== null ? "killed" : wanted.status,
    );
  }
  const { sysstat } = machine.reports();
  t.regex(sysstat!, /^openat /m);
  await machine.shutdown();
  t.deepEqual(log, []);
});

const busybox = process.env.STERNIX_BUSYBOX ?? "";
(busybox === "" ? test.serial.skip : test.serial)("busybox meets all three", async (t) => {
  const log: string[] = [];
  await using machine = await Machine.boot({
    cpus: 2,
    memory: 256 << 20,
    subsystems: SUBSYSTEMS,
    log: (line) => log.push(line),
  });
  const sh = async (script: string) =>
    (await machine.spawn(pathToFileURL(busybox), { argv: ["sh", "-c", script] }).output()).stdout;
  t.is(
    await sh(
      'exec 3<>/dev/kvcache; echo "set name value" >&3; read ok <&3; echo $ok; echo "get name" >&3; cat <&3',
    ),
    "OK\nHIT 5\nvalue\n",
  );
  t.is(await sh('exec 3<>/dev/kvcache; echo "get name" >&3; head -n 1 <&3'), "HIT 5\n", "another process");
  t.is(await sh("echo x > /etc/forbidden || echo no"), "no\n");
  t.is(
    await sh("echo 'allow * /' > /proc/syscall-policy; echo x > /etc/forbidden && cat /etc/forbidden"),
    "x\n",
  );
  t.regex(
    await sh(
      "seq 1 200 | while read n; do echo $n; done | sort -n | tail -n 1; grep ' (busybox)' /proc/sysstat | head -n 1",
    ),
    /^200\n\d+ \(busybox\) +\d+ /,
  );
  await machine.shutdown();
  t.deepEqual(log, []);
});

test.serial("esbuild bundles the same with all three as without", async (t) => {
  let program: string;
  try {
    program = await riscv64Esbuild();
  } catch (error) {
    t.log(`esbuild for riscv64 is not to be had here: ${String(error)}`);
    t.pass();
    return;
  }
  const log: string[] = [];
  const out = mkdtempSync(join(tmpdir(), "sternix-"));
  await using machine = await Machine.boot({
    cpus: 2,
    mounts: [
      { host: root, guest: "/project" },
      { host: out, guest: "/out", writable: true },
    ],
    subsystems: SUBSYSTEMS,
    log: (line) => log.push(line),
  });
  const flags = ["rcu/index.ts", "--bundle", "--format=esm", "--platform=node", "--log-level=warning"];
  const argv = ["esbuild", ...flags, "--outfile=/out/rcu.js"];
  const { code, stderr } = await machine.spawn(pathToFileURL(program), { argv, cwd: "/project" }).output();
  const { sysstat } = machine.reports();
  await machine.shutdown();
  t.deepEqual([code, stderr], [0, ""]);
  const host = spawnSync(join(root, "node_modules/esbuild/bin/esbuild"), flags, {
    cwd: root,
    encoding: "utf8",
  });
  t.is(readFileSync(join(out, "rcu.js"), "utf8"), host.stdout);
  rmSync(out, { recursive: true });
  t.regex(sysstat!, /^futex /m);
  t.deepEqual(log, []);
});
