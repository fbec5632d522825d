/**
 * Programs that take all they can get of one kind. Each is stopped by an error or killed for it; an innocent program beside it gets its
 * work done; and when the bomb is gone so is what it took.
 */
import { pathToFileURL } from "node:url";
import test, { type ExecutionContext } from "ava";
import { Machine } from "../../userland/index.ts";
import { fixture } from "./cases.ts";
import { run, testCpus } from "./run.ts";

const program = (name: string): URL => pathToFileURL(fixture(name));
const [E2BIG, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC] = [7, 11, 12, 23, 24, 28];
/** It was killed for the memory that it has, or it is one of several processes that were. */
const KILLED = 0;
/** How each bomb may end: by user 1000, and by root. */
const BOMBS: Readonly<Record<string, readonly [user: readonly number[], root: readonly number[]]>> = {
  exec: [[E2BIG], [E2BIG]],
  fork: [[EAGAIN], [EAGAIN]],
  thread: [[EAGAIN], [EAGAIN]],
  fd: [[ENFILE], [ENFILE]],
  pipe: [
    [ENFILE, KILLED],
    [ENFILE, KILLED],
  ],
  socket: [
    [ENFILE, ENOMEM, KILLED],
    [ENFILE, ENOMEM, KILLED],
  ],
  dgram: [
    [ENFILE, ENOMEM, KILLED],
    [ENFILE, ENOMEM, KILLED],
  ],
  epoll: [
    [ENOSPC, ENFILE],
    [ENOSPC, ENFILE],
  ],
  inotify: [[EMFILE], [EMFILE]],
  // Queues overflow; processes with large tables are killed for them, one after the other. (All is asked for, or the last is waited for.)
  events: [[KILLED], [KILLED]],
  slots: [
    [KILLED, ENOMEM],
    [KILLED, ENOMEM],
  ],
  groups: [[KILLED], [KILLED, ENOMEM]],
  touch: [[KILLED], [KILLED]],
  shared: [[KILLED], [KILLED]],
  memfd: [[ENOSPC], [ENOSPC]],
  tmpfs: [[ENOSPC], [ENOSPC]],
  names: [[ENOSPC], [ENOSPC]],
  mount: [[1], [ENOSPC]],
  timer: [[EAGAIN], [EAGAIN]],
  sigqueue: [[EAGAIN], [EAGAIN]],
  tables: [
    [EAGAIN, ENOMEM, KILLED],
    [EAGAIN, ENOMEM, KILLED],
  ],
};

async function explode(t: ExecutionContext, machine: Machine, kind: string, uid: number): Promise<void> {
  const bomb = machine.spawn(program("bombs"), { args: [kind, String(uid)] });
  const ended = bomb.exited.then(
    () => {},
    () => {},
  );
  const said = bomb.stdout.getReader().read();
  const stopped = await Promise.race([said.then(({ value }) => value), ended.then(() => undefined)]);
  const errno = stopped === undefined ? KILLED : -Number.parseInt(new TextDecoder().decode(stopped), 10);
  t.true(BOMBS[kind]![uid === 0 ? 1 : 0].includes(errno), `${kind} by user ${uid} ended with ${errno}`);
  // The work of an innocent: a program that forks and waits, one with pipes and three processes, and one that writes a file.
  const work = [["fork"], ["pipe"]];
  if (!FILES_FULL.includes(kind)) work.push(["file", "write", `/home/${kind}${uid}`, "text"]);
  for (const [name, ...args] of work) {
    const { status } = await run(machine, program(name!), { args });
    t.is(status, 0, `${name} beside ${kind} by user ${uid}`);
  }
  machine.kill(-bomb.pid, 9);
  await ended;
}

/** These fill the file system that the innocent would write to. */
const FILES_FULL = ["tmpfs", "names"];

/** Root may do what a user may not: the kinds in which that makes a difference. */
const AS_ROOT = ["fork", "groups", "slots", "fd", "pipe", "memfd", "names", "mount", "timer", "tables"];

for (const [uid, kinds] of [
  [1000, Object.keys(BOMBS)],
  [0, AS_ROOT],
] as const)
  test.serial(`bombs by user ${uid} stop, are survived, and leave nothing behind`, async (t) => {
    t.timeout(300_000);
    const log: string[] = [];
    const machine = await Machine.boot({
      cpus: testCpus([2])[0]!,
      memory: 64 << 20,
      log: (line) => log.push(line),
    });
    t.teardown(() => machine.shutdown());
    for (const kind of kinds) await explode(t, machine, kind, uid);
    t.like(await run(machine, program("hello")), { status: 0, stdout: "hello from riscv64\n" });
    t.deepEqual(
      log.filter((line) => !/Out of memory: killed process \d+ \(bombs\)/.test(line)),
      [],
      "nobody else was killed, and nothing went wrong in the kernel",
    );
  });
