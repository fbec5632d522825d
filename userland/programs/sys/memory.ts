/** The address space and what sleeps on its words: mmap(2), futex(2). */
import { FUTEX_WAIT, FUTEX_WAKE } from "../../../kernel/uapi/futex.ts";
import { MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE } from "../../../kernel/uapi/mman.ts";
import type { Steps } from "../program.ts";
import { Calls, timespecWords } from "./calls.ts";

export abstract class MemoryCalls extends Calls {
  mmap(
    address: number,
    length: number,
    prot: number,
    flags: number,
    fd: number,
    offset: number,
  ): Steps<number> {
    return this.call("mmap", address, length, prot, flags, fd, offset);
  }
  munmap(address: number, length: number): Steps<number> {
    return this.call("munmap", address, length);
  }
  mprotect(address: number, length: number, prot: number): Steps<number> {
    return this.call("mprotect", address, length, prot);
  }
  /** Zeroed memory that the children of this process share with it, at the same address. */
  mapShared(length: number): Steps<number> {
    return this.mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }

  /** Sleeps while the word at `address` holds `value`. Milliseconds; -1 waits without end. */
  futexWait(address: number, value: number, timeout = -1): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      const limit = timeout < 0 ? 0 : scratch.putWords(timespecWords(timeout));
      return yield* self.call("futex", address, FUTEX_WAIT, value, limit, 0, 0);
    });
  }
  futexWake(address: number, count = 1): Steps<number> {
    return this.call("futex", address, FUTEX_WAKE, count, 0, 0, 0);
  }
  /** Sleeps until the word at `address` is 0: joins a thread whose `tidAddress` it is. */
  *join(address: number): Steps<void> {
    for (let tid = this.memory.load(address); tid !== 0; tid = this.memory.load(address))
      yield* this.futexWait(address, tid);
  }
}
