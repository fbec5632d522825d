import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import test from "ava";
import "../../../kernel/fs/hostfs/index.ts";
import { changeMode } from "../../../kernel/fs/attr.ts";
import { makeLink } from "../../../kernel/fs/dir.ts";
import { nd } from "../../../kernel/fs/namei.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { mountHost } from "../../../kernel/fs/vfs.ts";
import { AT_FDCWD } from "../../../kernel/uapi/fcntl.ts";
import { atomicStore } from "../../../rcu/index.ts";
import { get, list, lookup, mkdir, put, rmdir, symlink, unlink } from "./calls.ts";
import { bootMachine, safePoint } from "./machine.ts";

const RUN_MS = 2000;
const seed = Number(process.env.STERNIX_SEED ?? 20261201);

test("a host that swaps files, folders and links under a mount leads the guest nowhere else", async (t) => {
  const { task } = bootMachine();
  const temporary = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "sternix-hostile-")));
  const outside = path.join(temporary, "outside");
  const host = path.join(temporary, "host");
  fs.mkdirSync(outside);
  fs.mkdirSync(host);
  fs.writeFileSync(path.join(outside, "secret"), "of the host", { mode: 0o600 });
  const before = fs.lstatSync(path.join(outside, "secret"));
  const folder = fs.lstatSync(outside);
  if (mountHost(host, "/m", true) !== 0) throw new Error("mount");
  const stop = new SharedArrayBuffer(4);
  const swapper = new Worker(new URL("./swap-worker.ts", import.meta.url), {
    workerData: { host, outside, seed, stop },
  });
  await new Promise((resolve) => swapper.once("online", resolve));

  let state = seed ^ 0x5eed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const name = (): string => `/m/${"abcd"[random(4)]!}${["", "/d", "/secret", "/d/secret"][random(4)]!}`;
  const calls: (() => unknown)[] = [
    () => get(name()),
    () => get(name()),
    () => put(name(), "own text"),
    () => list(`/m/${"abcd"[random(4)]!}`),
    () => renamePath(AT_FDCWD, name(), AT_FDCWD, name(), 0),
    () => mkdir(name()),
    () => symlink("../../outside", name()),
    () => unlink(name()),
    () => rmdir(name()),
    () => lookup(name()) === 0 && makeLink(nd.inode, nd.mount, AT_FDCWD, name()),
    () => lookup(name()) === 0 && changeMode(nd.mount, nd.inode, 0o6777),
  ];
  const answers = new Set<string>();
  for (const end = Date.now() + RUN_MS; Date.now() < end; ) {
    for (let n = 0; n < 20; n++) {
      let answer: unknown;
      try {
        answer = calls[random(calls.length)]!();
      } catch (error) {
        // A listing that failed (list throws for errors), not an oops.
        if (!/^(getdents|\/m\/.*): -\d+$/.test((error as Error).message)) throw error;
      }
      if (typeof answer === "string") answers.add(answer.slice(0, 3));
      safePoint(task);
    }
  }
  atomicStore(new Int32Array(stop), 0, 1);
  await new Promise((resolve) => swapper.once("exit", resolve));
  t.log(`seed ${seed}`);
  // What was read is of this mount; "" was read from a file that was just made.
  t.true(
    [...answers].every((text) => text === "own" || text === ""),
    [...answers].join(),
  );
  t.true(answers.has("own"));
  t.deepEqual(fs.readdirSync(outside), ["secret"]);
  t.is(fs.readFileSync(path.join(outside, "secret"), "utf8"), "of the host");
  const after = fs.lstatSync(path.join(outside, "secret"));
  t.deepEqual([after.mode, after.nlink, after.mtimeMs], [before.mode, before.nlink, before.mtimeMs]);
  t.is(fs.lstatSync(outside).mode, folder.mode);
  fs.rmSync(temporary, { recursive: true });
});
