import { Worker } from "node:worker_threads";
import test from "ava";
import { bindGlobals, createGlobals } from "../../../kernel/global.ts";
import { mmFork } from "../../../kernel/mm/fork.ts";
import { mmCreate, mmPut } from "../../../kernel/mm/mm.ts";
import { mmap } from "../../../kernel/mm/mmap.ts";
import { mremap } from "../../../kernel/mm/mremap.ts";
import { createRam, PAGE_SIZE } from "../../../kernel/mm/ram.ts";
import { mmInit } from "../../../kernel/mm/shmem.ts";
import { activateMm, serveTlbRequests, tlbInit } from "../../../kernel/mm/tlb.ts";
import { getUser32, putUser32 } from "../../../kernel/mm/uaccess.ts";
import { setCurrent } from "../../../kernel/sched/current.ts";
import { Task } from "../../../kernel/task/task.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, MREMAP_FIXED, MREMAP_MAYMOVE } from "../../../kernel/uapi/mman.ts";
import {
  arrayGet,
  arrayStore,
  atomicLoad,
  atomicStore,
  Heap,
  type Ref,
  rcuQuiescent,
  rcuRunCallbacks,
  tryAlloc,
  tryAllocArray,
} from "../../../rcu/index.ts";
import type { CpuData } from "./shootdown-worker.ts";

const PAGES = 24;
const READERS = 3;
const CHANGES = 200;

test.serial(
  "no CPU uses a translation after the change that revoked it: unmapping, moving, copy-on-write",
  async (t) => {
    const heap = Heap.create({ bytes: 64 << 20, debug: true });
    const globals = createGlobals() as Ref<"array">;
    bindGlobals(globals);
    const memory = createRam(8 << 20, READERS + 1);
    mmInit();
    setCurrent(tryAlloc(Task));
    tlbInit(0, []);
    const mm = mmCreate() as Ref<"mm">;
    activateMm(mm);
    const anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    const base = mmap(mm, 0, PAGES * PAGE_SIZE, 3, anonymous, 0, 0);
    const versions = tryAllocArray(PAGES) as Ref<"array">;
    for (let page = 0; page < PAGES; page++) putUser32(base + page * PAGE_SIZE, page << 20);
    const control = new SharedArrayBuffer(16);
    const words = new Int32Array(control);

    const readers = Array.from({ length: READERS }, (_, n) => {
      const data: CpuData = {
        heap: heap.handle(),
        globals,
        memory,
        cpu: n + 1,
        mm,
        base,
        pages: PAGES,
        versions,
        control,
      };
      const worker = new Worker(new URL("./shootdown-worker.ts", import.meta.url), { workerData: data });
      return new Promise<{ reads: number; stale: string | null }>((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    });
    const failed = Promise.race(readers.map((reader) => reader.then((result) => result.stale)));

    const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
    while (atomicLoad(words, 1) < READERS) await turn();
    let stopped = false;
    void failed.then(() => {
      stopped = true;
    });
    for (let change = 1; change <= CHANGES && !stopped; change++) {
      const page = Math.floor(Math.random() * PAGES);
      const address = base + page * PAGE_SIZE;
      const version = arrayGet(versions, page) + 1;
      if (change % 3 === 0) {
        // Copy-on-write: the frame that the readers have stays with the child.
        const child = mmFork(mm) as Ref<"mm">;
        putUser32(address, (page << 20) | version);
        arrayStore(versions, page, version);
        mmPut(child);
      } else {
        // Another frame takes the place of the old one, which is free at once and soon used again.
        const fresh = mmap(mm, 0, PAGE_SIZE, 3, anonymous, 0, 0);
        putUser32(fresh, (page << 20) | version);
        t.is(mremap(mm, fresh, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, address), address);
        arrayStore(versions, page, version);
      }
      serveTlbRequests();
      rcuQuiescent();
      rcuRunCallbacks();
      if (change % 100 === 0) await turn();
    }
    atomicStore(words, 0, 1);
    const results = await Promise.all(readers);
    for (const { stale } of results) t.is(stale, null);
    t.true(results.reduce((sum, { reads }) => sum + reads, 0) > 0);
    for (let page = 0; page < PAGES; page++)
      t.is(getUser32(base + page * PAGE_SIZE), (page << 20) | arrayGet(versions, page));
    mmPut(mm);
  },
);
