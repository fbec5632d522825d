/** What selects code of the host is out of every guest's reach, also of one with the same user id. */
import test from "ava";
import { Machine } from "../../userland/index.ts";

const program = new URL("programs/trust.ts", import.meta.url);

for (const uid of [0, 1000])
  test(`uid ${uid}: nobody reads, writes or moves a TypeScript program`, async (t) => {
    await using machine = await Machine.boot({ cpus: 2 });
    const victim = machine.spawn(program, { args: ["--marker"], uid, gid: uid });
    const reader = victim.stdout.getReader();
    const seen = Buffer.from((await reader.read()).value!).toString();
    const intruder = machine.spawn(program, { args: ["intruder", String(victim.pid)], uid, gid: uid });
    const tried = await intruder.output();
    t.is(tried.stderr, "");
    t.is(tried.stdout, "read -13 write -13 affinity -22 own -22\n");
    // A return from no signal handler is what it is for every program: SIGSEGV.
    t.deepEqual(await victim.exited, { code: null, signal: "SIGSEGV" });
    t.is(seen, "arguments true path false pc false\n");
  });
