/** The other thread of race.test.ts: attaches to the machine and changes directories until it is told to stop. */
import { parentPort, workerData } from "node:worker_threads";
import { pathLookup } from "../../../kernel/fs/namei.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { bindGlobals } from "../../../kernel/global.ts";
import { bindRam } from "../../../kernel/mm/ram.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { AT_FDCWD, RENAME_EXCHANGE } from "../../../kernel/uapi/fcntl.ts";
import "../../../kernel/fs/tmpfs.ts";
import "../../../kernel/fs/vfs.ts";
import { atomicAdd, atomicLoad, Heap, type Ref } from "../../../rcu/index.ts";
import { close, mkdir, open, put, rmdir, unlink } from "./calls.ts";
import { churnChain } from "./chain.ts";
import { newTask, safePoint, settle } from "./machine.ts";

const { heap, memory, globals, stop, mode } = workerData;
const attached = Heap.attach(heap);
bindGlobals(globals as Ref<"array">);
bindRam(memory);
const { task } = newTask(0, 0);
setCurrent(task);

const rename = (from: string, to: string, flags = 0): number =>
  renamePath(AT_FDCWD, from, AT_FDCWD, to, flags);
const steps: Record<string, (n: number) => void> = {
  /** Replaces /race/f by a new file again and again: the name is there at every moment. */
  replace() {
    // A thread that is let run alone may outrun grace periods until memory is short: then nothing is renamed.
    const text = "whole";
    if (put("/race/new", text) !== text.length) {
      unlink("/race/new");
      return;
    }
    rename("/race/new", "/race/f");
  },
  /** Two names change places; each is always one of the two. */
  exchange() {
    rename("/race/x", "/race/y", RENAME_EXCHANGE);
  },
  /** A directory moves with all that is below it. */
  move(n) {
    rename(n % 2 === 0 ? "/race/a" : "/race/b", n % 2 === 0 ? "/race/b" : "/race/a");
  },
  /** Names come and go in the hash chain that the other thread looks through and changes as well. */
  chain(n) {
    if (pathLookup(AT_FDCWD, "/race") === 0) churnChain(n);
  },
  /** Files come and go, in a directory that comes and goes. */
  churn(n) {
    mkdir("/race/d");
    for (let file = 0; file < 4; file++) put(`/race/d/f${file}`, "12345");
    const fd = open("/race/d/f0");
    for (let file = 0; file < 4; file++) unlink(`/race/d/f${file}`);
    if (fd >= 0) close(fd);
    if (n % 2 === 0) rmdir("/race/d");
  },
};

let rounds = 0;
parentPort!.postMessage("ready");
while (atomicLoad(stop, 0) === 0) {
  steps[mode]!(rounds++);
  atomicAdd(stop, 1, 1);
  safePoint(task);
}
settle(task);
attached.detach();
parentPort!.postMessage(rounds);
