/** Memory that a subsystem shares with programs: they see it through mmap(2) of its device. */
import type { Ref } from "../../rcu/index.ts";
import { Mapping, MOPS, mappingCreate, mappingPut, registerMappingOps } from "../mm/mapping.ts";
import { mappingEach } from "../mm/pagecache.ts";
import { ram } from "../mm/ram.ts";
import { asKernel } from "./place.ts";

const PAGE = 4096;

// A program that reaches behind its end gets SIGBUS.
registerMappingOps(MOPS.MODULE, { size: (mapping) => Mapping.host.get(mapping) });

export class SharedMemory {
  readonly ref: Ref<"mapping">;
  constructor(ref: Ref<"mapping">) {
    this.ref = ref;
  }
  /** Throws when there is no memory. `bytes` is rounded up to whole pages. */
  static create(bytes: number): SharedMemory {
    if (!(Number.isInteger(bytes) && bytes > 0 && bytes < 2 ** 31))
      throw new RangeError(`table.memory(${bytes}): give a number of bytes below 2 GiB`);
    const ref = mappingCreate(MOPS.MODULE, Math.ceil(bytes / PAGE) * PAGE);
    if (ref === 0) throw new Error("no memory for shared memory");
    return new SharedMemory(ref);
  }
  get bytes(): number {
    return Mapping.host.get(this.ref);
  }
  /** A copy of `length` bytes at `offset`. Throws RangeError beyond the end, Error when RAM is full. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    let done = 0;
    this.#each(offset, length, (address, part) => {
      bytes.set(ram.u8.subarray(address, address + part), done);
      done += part;
    });
    return bytes;
  }
  /** Programs that look meanwhile may see a part of it: there is no lock in memory that they map. */
  write(offset: number, bytes: Uint8Array): void {
    let done = 0;
    this.#each(offset, bytes.length, (address, part) => {
      ram.u8.set(bytes.subarray(done, done + part), address);
      done += part;
    });
  }
  #each(offset: number, length: number, visit: (address: number, part: number) => void): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.bytes))
      throw new RangeError(`bytes ${offset} to ${offset + length} of a shared memory of ${this.bytes}`);
    const done = asKernel(() =>
      mappingEach(this.ref, offset, length, true, (address, part) => {
        visit(address, part);
        return part;
      }),
    );
    if (done !== length) throw new Error("no memory for a page of shared memory");
  }
  /** At shutdown. */
  destroy(): void {
    asKernel(() => mappingPut(this.ref));
  }
}
