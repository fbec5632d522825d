/** Lengths and addresses that no address space has: an error each, and nothing of the kernel's changes. */
import test from "ava";
import { BLOCK } from "../../kernel/sched/block.ts";
import { EFAULT, EINVAL, ENOMEM } from "../../kernel/uapi/errno.ts";
import { boot, call, getBytes, putBytes } from "../kernel/ipc/machine.ts";

const { task, memory } = boot();
const sys = (name: string, ...args: number[]): number => call(task, name, ...args);
const WILD = [2 ** 32, 2 ** 40, 2 ** 53, 2 ** 63, 2 ** 64 - 4096, 2 ** 64];

test("a wild length or address never reaches the page tables", (t) => {
  putBytes(memory, Uint8Array.of(1, 2, 3));
  for (const wild of WILD) {
    t.is(sys("mremap", memory, wild, 4096, 0, 0), -EINVAL, `mremap from ${wild}`);
    t.is(sys("mremap", memory, wild, 4096, 1, 0), -EINVAL);
    t.is(sys("mremap", memory, 4096, wild, 1, 0), -EINVAL, `mremap to ${wild}`);
    t.is(sys("mremap", wild, 4096, 4096, 1, 0), -EFAULT);
    t.is(sys("munmap", memory, wild), -EINVAL);
    t.is(sys("munmap", wild, 4096), -EINVAL);
    t.is(sys("mprotect", memory, wild, 0), -ENOMEM);
    t.is(sys("mprotect", wild, 4096, 0), -ENOMEM);
    t.is(sys("madvise", memory, wild, 4), -ENOMEM);
    t.is(sys("msync", memory, wild, 4), -ENOMEM);
    t.is(sys("mincore", memory, wild, memory), -ENOMEM);
    t.is(sys("mlock", memory, wild), -ENOMEM);
    t.is(sys("mmap", 0, wild, 3, 0x22, -1, 0), -ENOMEM);
    t.is(sys("mmap", wild, 4096, 3, 0x32, -1, 0), -ENOMEM);
    t.true(sys("brk", wild) < 2 ** 32);
  }
  t.deepEqual([...getBytes(memory, 3)], [1, 2, 3]);
});

test("calls that take buffers answer EFAULT for wild ones, or wait, but never throw", (t) => {
  sys("pipe2", memory, 0o4000);
  const fd = new Int32Array(getBytes(memory, 4).buffer)[0]!;
  const names = ["read", "write", "readv", "writev", "fstat", "getdents64"];
  for (const wild of WILD) {
    for (const name of names) {
      const result = sys(name, fd, wild, 8);
      t.true(result < 0 && result > BLOCK, `${name} ${wild}: ${result}`);
    }
    t.is(sys("ppoll", wild, 1, 0, 0, 0), -EFAULT);
    t.is(sys("getcwd", wild, 8), -EFAULT);
    t.is(sys("uname", wild), -EFAULT);
  }
});
