/**
 * A bare Linux user of one CPU, for tests and measurements of the engine without the kernel: a static ELF or raw code in a
 * 4 GiB space of frames handed out in order, and a handful of system calls.
 */

import { readFileSync } from "node:fs";
import {
  ACCESS,
  CPU_AREA_BYTES,
  EXIT,
  fAt,
  PAGE_WRITABLE,
  USER_REGS,
  type UserMode,
  type UserModeHost,
  xAt,
} from "../../kernel/usermode.ts";
import { createRiscvEngine, type EngineOptions } from "../../userland/riscv64/engine.ts";

const ENOSYS = 38;
const STACK_TOP = 0x4000_0000;
const STACK_BYTES = 0x10_0000;
const MMAP_BASE = 0x5000_0000;

/** What a fault was about. */
export interface Fault {
  va: bigint;
  /** ACCESS, or "misaligned". */
  access: number | "misaligned";
}

export class Harness implements UserModeHost {
  readonly memory: WebAssembly.Memory;
  readonly cpu = 0;
  readonly cpuArea = 0x1_0000;
  readonly cpuAreas: readonly number[];
  readonly regs: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  engine: UserMode;
  /** Frame and permissions by virtual page number. */
  readonly pages = new Map<number, { frame: number; access: number }>();
  output = "";
  status: number | undefined;
  fault: Fault | undefined;
  syscalls = 0;
  private nextFrame: number;
  private brk = 0;
  private mmapNext = MMAP_BASE;
  private space = 1;

  constructor(options: EngineOptions = {}, ramBytes = 64 << 20, cpus = 1) {
    this.cpuAreas = Array.from({ length: cpus }, (_, cpu) => 0x1_0000 + cpu * CPU_AREA_BYTES);
    this.regs = 0x1_0000 + cpus * CPU_AREA_BYTES;
    this.nextFrame = this.regs + 0x1_0000;
    const pages = Math.ceil((this.nextFrame + ramBytes) / 65536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.view = new DataView(this.memory.buffer);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.engine = createRiscvEngine(this, options);
    this.engine.setSpace(this.space);
    this.view.setInt32(this.regs + USER_REGS.RESERVATION, -1, true);
  }

  /** An engine on another CPU, or a new one on this CPU; `run` takes the one that is current. */
  newEngine(cpu: number, options: EngineOptions): UserMode {
    const host = Object.create(this, { cpu: { value: cpu }, cpuArea: { value: this.cpuAreas[cpu]! } });
    const engine = createRiscvEngine(host, options);
    engine.setSpace(this.space);
    return engine;
  }

  /** Maps [start, start + bytes) to fresh zeroed frames; pages already there keep theirs. */
  map(start: number, bytes: number, access: number): void {
    for (let page = Math.floor(start / 4096); page * 4096 < start + bytes; page++) {
      if (this.pages.has(page)) continue;
      if (this.nextFrame + 4096 > this.memory.buffer.byteLength) throw new Error("harness out of memory");
      this.pages.set(page, { frame: this.nextFrame, access });
      this.nextFrame += 4096;
    }
  }

  unmap(start: number, bytes: number): void {
    for (let page = start / 4096; page * 4096 < start + bytes; page++) this.pages.delete(page);
    this.engine.tlbInvalidate(start, start + bytes);
    this.engine.setSpace(++this.space);
  }

  /** Host address of a mapped guest address. */
  at(va: number): number {
    const page = this.pages.get(Math.floor(va / 4096));
    if (page === undefined) throw new Error(`not mapped: 0x${va.toString(16)}`);
    return page.frame + (va % 4096);
  }

  poke(va: number, data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) this.bytes[this.at(va + i)] = data[i]!;
  }

  x(n: number): bigint {
    return this.view.getBigInt64(this.regs + xAt(n), true);
  }

  setX(n: number, value: bigint | number): void {
    if (n !== 0) this.view.setBigInt64(this.regs + xAt(n), BigInt.asIntN(64, BigInt(value)), true);
  }

  f(n: number): bigint {
    return this.view.getBigUint64(this.regs + fAt(n), true);
  }

  setF(n: number, value: bigint): void {
    this.view.setBigUint64(this.regs + fAt(n), BigInt.asUintN(64, value), true);
  }

  get pc(): number {
    return Number(this.view.getBigUint64(this.regs + USER_REGS.PC, true));
  }

  set pc(value: number) {
    this.view.setBigUint64(this.regs + USER_REGS.PC, BigInt(value), true);
  }

  get fcsr(): number {
    return this.view.getUint32(this.regs + USER_REGS.FCSR, true);
  }

  set fcsr(value: number) {
    this.view.setUint32(this.regs + USER_REGS.FCSR, value, true);
  }

  /** Loads a static ELF and sets up a stack with argv and a short auxv. */
  loadElf(path: string, args: string[] = []): void {
    const file = readFileSync(path);
    const programHeaders = Number(file.readBigUInt64LE(32));
    let end = 0;
    for (let n = 0; n < file.readUInt16LE(56); n++) {
      const header = programHeaders + n * 56;
      if (file.readUInt32LE(header) !== 1) continue;
      const offset = Number(file.readBigUInt64LE(header + 8));
      const va = Number(file.readBigUInt64LE(header + 16));
      const inFile = Number(file.readBigUInt64LE(header + 32));
      const inMemory = Number(file.readBigUInt64LE(header + 40));
      this.map(va, inMemory, ACCESS.READ | ACCESS.WRITE | ACCESS.EXEC);
      this.poke(va, file.subarray(offset, offset + inFile));
      end = Math.max(end, va + inMemory);
    }
    this.brk = Math.ceil(end / 4096) * 4096;
    this.map(STACK_TOP - STACK_BYTES, STACK_BYTES, ACCESS.READ | ACCESS.WRITE);
    let top = STACK_TOP;
    const pointers = [path, ...args].map((arg) => {
      const text = Buffer.from(`${arg}\0`);
      top -= text.length;
      this.poke(top, text);
      return top;
    });
    const random = top - 16;
    top = random;
    const phdr = this.programHeadersAt(file, programHeaders);
    const auxv = [
      3,
      phdr,
      4,
      56,
      5,
      file.readUInt16LE(56),
      6,
      4096,
      9,
      Number(file.readBigUInt64LE(24)),
      25,
      random,
    ];
    const words = [pointers.length, ...pointers, 0, 0, ...auxv, 0, 0];
    top = Math.floor((top - words.length * 8) / 16) * 16;
    words.forEach((word, i) => {
      this.view.setBigUint64(this.at(top + 8 * i), BigInt(word), true);
    });
    this.setX(2, top);
    this.pc = Number(file.readBigUInt64LE(24));
  }

  /** Where the program headers are in guest memory. */
  private programHeadersAt(file: Buffer, offset: number): number {
    for (let n = 0; n < file.readUInt16LE(56); n++) {
      const header = offset + n * 56;
      const start = Number(file.readBigUInt64LE(header + 8));
      const bytes = Number(file.readBigUInt64LE(header + 32));
      if (file.readUInt32LE(header) === 1 && offset >= start && offset < start + bytes) {
        return Number(file.readBigUInt64LE(header + 16)) + offset - start;
      }
    }
    return 0;
  }

  /** Runs until exit or something that is neither a system call nor preemption; returns the EXIT reason. */
  run(): number {
    for (;;) {
      const reason = this.engine.enter(this.regs);
      if (reason === EXIT.PREEMPTED) {
        this.view.setInt32(this.cpuArea, 0, true);
        continue;
      }
      return reason;
    }
  }

  translate(va: number, access: number): number {
    const page = this.pages.get(Math.floor(va / 4096));
    if (page === undefined || (page.access & access) !== access) {
      this.fault = { va: BigInt(va), access };
      return -14;
    }
    return page.frame + ((page.access & ACCESS.WRITE) !== 0 ? PAGE_WRITABLE : 0);
  }

  badAddress(va: bigint, access: number): void {
    this.fault = { va, access };
  }

  misaligned(va: bigint): void {
    this.fault = { va, access: "misaligned" };
  }

  time(): bigint {
    return process.hrtime.bigint();
  }

  instructionFence(): void {
    this.engine.setSpace(++this.space);
  }

  syscall(): number {
    this.syscalls++;
    const nr = Number(this.x(17));
    switch (nr) {
      case 93: // exit
      case 94: // exit_group
        this.status = Number(this.x(10));
        return EXIT.LEAVE;
      case 173: // getppid
        this.view.setInt32(this.regs + 80, 1, true);
        this.view.setInt32(this.regs + 84, 0, true);
        return 0;
      case 64: {
        // write
        const from = Number(this.x(11));
        const count = Number(this.x(12));
        for (let i = 0; i < count; i++) this.output += String.fromCharCode(this.bytes[this.at(from + i)]!);
        this.setX(10, count);
        return 0;
      }
      case 113: {
        // clock_gettime
        const now = this.time();
        const va = Number(this.x(11));
        this.view.setBigInt64(this.at(va), now / 1_000_000_000n, true);
        this.view.setBigInt64(this.at(va + 8), now % 1_000_000_000n, true);
        this.setX(10, 0);
        return 0;
      }
      case 214: {
        // brk
        const to = Number(this.x(10));
        if (to > this.brk) {
          this.map(this.brk, to - this.brk, ACCESS.READ | ACCESS.WRITE);
          this.brk = to;
        }
        this.setX(10, this.brk);
        return 0;
      }
      case 222: {
        // mmap, anonymous
        const bytes = Math.ceil(Number(this.x(11)) / 4096) * 4096;
        this.map(this.mmapNext, bytes, ACCESS.READ | ACCESS.WRITE);
        this.setX(10, this.mmapNext);
        this.mmapNext += bytes + 4096;
        return 0;
      }
      default:
        this.setX(10, -ENOSYS);
        return 0;
    }
  }
}
