/** Lookups race with changes made on another thread. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import test from "ava";
import { freeName, unhash } from "../../../kernel/fs/dname.ts";
import { EEXIST, ENOENT, ENOTEMPTY } from "../../../kernel/uapi/errno.ts";
import { O_CREAT, O_EXCL, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import { atomicLoad, rcuIdleEnter, rcuIdleExit } from "../../../rcu/index.ts";
import { close, get, lookup, mkdir, open, put, rmdir, unlink } from "./calls.ts";
import { addName, churnChain, walkChain } from "./chain.ts";
import { bootMachine, safePoint, settle } from "./machine.ts";

const ROUNDS = 4000;
/** Changes that the other thread must have made at least, however little it is let run. */
const CHANGES = 20;
const machine = bootMachine(64 << 20);
const { task } = machine;
mkdir("/race");

/** Runs `look` here while the worker changes things; how many changes it made. */
async function race(mode: string, look: (n: number) => void): Promise<number> {
  const stop = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL("./race-worker.ts", import.meta.url), {
    workerData: { heap: machine.heap.handle(), memory: machine.memory, globals: machine.globals, stop, mode },
  });
  await message(worker);
  try {
    for (let n = 0; n < ROUNDS || atomicLoad(stop, 1) < CHANGES; n++) {
      look(n);
      safePoint(task);
    }
  } finally {
    stop[0] = 1;
  }
  const rounds = await message(worker);
  settle(task);
  return rounds;
}

/** Waits for the worker, out of the way of its grace periods. */
async function message(worker: Worker): Promise<number> {
  rcuIdleEnter();
  const [value] = await once(worker, "message");
  rcuIdleExit();
  return value as number;
}

test.serial("a name that rename replaces is never missing, nor half written", async (t) => {
  put("/race/f", "whole");
  const seen = new Map<unknown, number>();
  const rounds = await race("replace", () => {
    const text = get("/race/f");
    seen.set(text, (seen.get(text) ?? 0) + 1);
  });
  t.deepEqual([...seen.keys()], ["whole"]);
  t.true(rounds >= CHANGES);
});

test.serial("exchanged names are each always one of the two files", async (t) => {
  put("/race/x", "X");
  put("/race/y", "Y");
  const seen = new Set<unknown>();
  await race("exchange", () => {
    seen.add(get("/race/x"));
    seen.add(get("/race/y"));
  });
  t.deepEqual(
    [...seen].filter((text) => text !== "X" && text !== "Y"),
    [],
  );
});

test.serial(
  "a directory that moves is found under one of its names, with all that is below it",
  async (t) => {
    mkdir("/race/a");
    mkdir("/race/a/deep");
    put("/race/a/deep/f", "below");
    const wrong: unknown[] = [];
    await race("move", () => {
      for (const name of ["a", "b"]) {
        const text = get(`/race/${name}/deep/f`);
        if (text !== "below" && text !== -ENOENT) wrong.push(text);
      }
    });
    t.deepEqual(wrong, []);
    t.is([lookup("/race/a/deep/f"), lookup("/race/b/deep/f")].filter((error) => error === 0).length, 1);
  },
);

test.serial(
  "files come and go on two threads; O_EXCL has one winner, and nothing is left over",
  async (t) => {
    const answers = new Set<number>();
    await race("churn", (n) => {
      const fd = open("/race/d/f1", O_CREAT | O_EXCL | O_WRONLY);
      answers.add(Math.min(fd, 0));
      if (fd >= 0) close(fd);
      answers.add(unlink("/race/d/f2"));
      if (n % 16 === 0) answers.add(rmdir("/race/d"));
    });
    const allowed = new Set([0, -ENOENT, -EEXIST, -ENOTEMPTY]);
    t.deepEqual(
      [...answers].filter((answer) => !allowed.has(answer)),
      [],
    );
    for (let file = 0; file < 4; file++) unlink(`/race/d/f${file}`);
    rmdir("/race/d");
    t.is(lookup("/race/d"), -ENOENT);
  },
);

test.serial(
  "a hash chain that two threads add to and take from loses nobody, and a walk misses nobody",
  async (t) => {
    lookup("/race");
    const kept = [addName(), addName()];
    let missed = 0;
    await race("chain", (n) => {
      for (const name of kept) if (!walkChain(name).found) missed++;
      churnChain(n);
    });
    t.is(missed, 0);
    for (const name of kept) t.deepEqual(walkChain(name), { found: true, seen: kept.length });
    for (const name of kept) {
      unhash(name);
      freeName(name);
    }
    t.deepEqual(walkChain(kept[0]!), { found: false, seen: 0 });
  },
);
