/**
 * What user mode sees of the kernel: the implementation of UserModeHost for one CPU. Its system-call path is the hottest
 * of the kernel: no work pending means a table call, a store of a0, and back.
 */
import { releasesPending } from "../../rcu/index.ts";
import { newCodeSpace } from "../mm/codespace.ts";
import { translateUser } from "../mm/fault.ts";
import { cpuArea, ram } from "../mm/ram.ts";
import { activeMm } from "../mm/tlb.ts";
import { NR_SYSCALLS, type SyscallEntry } from "../syscall-entry.ts";
import { A0_WORD, A7_WORD } from "../task/registers.ts";
import { Task } from "../task/task.ts";
import { BUS_ADRALN, SEGV_MAPERR, SIGBUS, SIGSEGV } from "../uapi/signal.ts";
import { CPU_NEED_RESCHED, EXIT, type UserModeHost } from "../usermode.ts";
import { BLOCK } from "./block.ts";
import { nrCpus } from "./cpus.ts";
import { current, nowNs, setFault } from "./current.ts";
import { safePoint } from "./safe-point.ts";
import { waitPrepared } from "./waitqueue.ts";

const lowWord = (value: bigint): number => Number(BigInt.asIntN(32, value));
const highWord = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));

/** Calls between two safe points on the fast path. */
const SAFE_POINT_CALLS = 32;

/** Result of the call that made `syscall()` return EXIT.LEAVE: the CPU loop finishes it. */
export let leftResult = 0;

/** Writes a result into a0. Exact for all results: errors, counts, addresses, file offsets. */
export function storeResult(regs: number, result: number): void {
  const word = regs / 4 + A0_WORD;
  const low = result | 0;
  ram.i32[word] = low;
  ram.i32[word + 1] = low === result ? low >> 31 : Math.floor(result / 4294967296);
}

export function createUserModeHost(cpu: number, syscalls: SyscallEntry): UserModeHost {
  const area = cpuArea(cpu);
  const resched = (area + CPU_NEED_RESCHED) / 4;
  const fullRegs = new Uint8Array(NR_SYSCALLS);
  for (let nr = 0; nr < NR_SYSCALLS; nr++) fullRegs[nr] = syscalls.needsFullRegs(nr) ? 1 : 0;
  let sinceSafePoint = 0;

  return {
    memory: ram.memory,
    cpu,
    cpuArea: area,
    cpuAreas: Array.from({ length: nrCpus() }, (_, number) => cpuArea(number)),

    syscall() {
      const task = current();
      const regs = Task.regs.get(task);
      if (fullRegs[ram.i32[regs / 4 + A7_WORD]!] === 1) return EXIT.SYSCALL;
      const result = syscalls.call(task, regs);
      if (result <= BLOCK || waitPrepared || ram.i32[resched] !== 0) {
        leftResult = result;
        return EXIT.LEAVE;
      }
      storeResult(regs, result);
      if (++sinceSafePoint >= SAFE_POINT_CALLS || releasesPending()) {
        sinceSafePoint = 0;
        safePoint(task);
      }
      return 0;
    },

    translate: translateUser,

    badAddress(va) {
      setFault(SIGSEGV, SEGV_MAPERR, lowWord(va), highWord(va));
    },

    misaligned(va) {
      setFault(SIGBUS, BUS_ADRALN, lowWord(va), highWord(va));
    },

    time: () => BigInt(nowNs()),

    instructionFence() {
      if (activeMm !== 0) newCodeSpace(activeMm);
    },
  };
}
