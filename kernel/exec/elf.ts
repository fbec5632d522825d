/**
 * ELF headers: read and judged before anything is mapped, so that a hostile file costs nothing. Works on bytes
 * alone; the command line uses it on host files too. Every refusal says in words what is wrong.
 */
import {
  EF_RISCV_RVE,
  EHDR,
  EHDR_BYTES,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_RISCV,
  ET_DYN,
  ET_EXEC,
  MACHINES,
  PF_X,
  PHDR,
  PHDR_BYTES,
  PT_GNU_STACK,
  PT_INTERP,
  PT_LOAD,
  PT_PHDR,
} from "../uapi/elf.ts";

/** A PT_LOAD segment. Bytes; addresses before relocation. */
export interface Segment {
  readonly vaddr: number;
  readonly offset: number;
  readonly filesz: number;
  readonly memsz: number;
  readonly align: number;
  /** PF_ bits. */
  readonly flags: number;
}

export interface ElfImage {
  /** Position independent: to be placed anywhere. */
  readonly dynamic: boolean;
  readonly entry: number;
  readonly phnum: number;
  /** Address of the program headers in memory, before relocation; 0 when no segment holds them. */
  readonly phdr: number;
  readonly segments: readonly Segment[];
  /** PT_INTERP: offset and size in the file. */
  readonly interp: { readonly offset: number; readonly size: number } | null;
  readonly executableStack: boolean;
  /** Lowest address and one past the highest, before relocation, in whole pages. */
  readonly start: number;
  readonly end: number;
}

/** Reads bytes of the file at an offset; fewer than asked for at its end. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

const PAGE = 4096;
/** The headers must fit in this many bytes, as on Linux. */
const MAX_PHDRS_BYTES = 65536;
const PATH_MAX = 4096;

export const isElf = (header: Uint8Array): boolean =>
  header[0] === 0x7f && header[1] === 0x45 && header[2] === 0x4c && header[3] === 0x46;

/**
 * Reads the headers of an ELF file of `size` bytes whose addresses must stay below `limit`. A string says why it
 * cannot be run.
 */
export function parseElf(readAt: ReadAt, size: number, limit: number): ElfImage | string {
  const header = readAt(0, EHDR_BYTES);
  if (!isElf(header)) return "not an ELF file";
  if (header.length < EHDR_BYTES) return "truncated ELF header";
  const view = viewOf(header);
  const reason = checkHeader(header, view);
  if (reason !== null) return reason;
  const type = view.getUint16(EHDR.TYPE, true);
  const phnum = view.getUint16(EHDR.PHNUM, true);
  const phoff = get64(view, EHDR.PHOFF);
  if (view.getUint16(EHDR.PHENTSIZE, true) !== PHDR_BYTES) return "program headers of an unknown size";
  if (phnum === 0) return "no program headers";
  if (phnum * PHDR_BYTES > MAX_PHDRS_BYTES) return `too many program headers (${phnum})`;
  if (phoff + phnum * PHDR_BYTES > size) return "truncated program headers";
  const table = readAt(phoff, phnum * PHDR_BYTES);
  if (table.length < phnum * PHDR_BYTES) return "truncated program headers";
  return readSegments(viewOf(table), phnum, phoff, size, limit, type === ET_DYN, get64(view, EHDR.ENTRY));
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
/** Unsigned 64 bits: exact below 2^53, beyond that large enough to be refused. */
const get64 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;

function checkHeader(header: Uint8Array, view: DataView): string | null {
  const machine = view.getUint16(EHDR.MACHINE, true);
  if (header[EHDR.DATA] !== ELFDATA2LSB) return "a big-endian program, not riscv64";
  if (machine !== EM_RISCV)
    return `a program for ${MACHINES.get(machine) ?? `machine ${machine}`}, not for riscv64`;
  if (header[EHDR.CLASS] !== ELFCLASS64) return "a 32-bit RISC-V program, not riscv64";
  if (header[EHDR.VERSION] !== 1) return "an unknown ELF version";
  const type = view.getUint16(EHDR.TYPE, true);
  if (type !== ET_EXEC && type !== ET_DYN)
    return type === 1
      ? "an object file, not a program"
      : type === 4
        ? "a core dump, not a program"
        : "not a program";
  if ((view.getUint32(EHDR.FLAGS, true) & EF_RISCV_RVE) !== 0)
    return "a program for RV64E, which is not supported";
  return null;
}

function readSegments(
  view: DataView,
  phnum: number,
  phoff: number,
  size: number,
  limit: number,
  dynamic: boolean,
  entry: number,
): ElfImage | string {
  const segments: Segment[] = [];
  let interp: { offset: number; size: number } | null = null;
  let executableStack = false;
  let phdr = 0;
  let top = -1;
  for (let n = 0; n < phnum; n++) {
    const at = n * PHDR_BYTES;
    const segment: Segment = {
      flags: view.getUint32(at + PHDR.FLAGS, true),
      offset: get64(view, at + PHDR.OFFSET),
      vaddr: get64(view, at + PHDR.VADDR),
      filesz: get64(view, at + PHDR.FILESZ),
      memsz: get64(view, at + PHDR.MEMSZ),
      align: get64(view, at + PHDR.ALIGN),
    };
    switch (view.getUint32(at + PHDR.TYPE, true)) {
      case PT_LOAD: {
        if (segment.memsz === 0) break;
        const reason = checkSegment(segment, n, size, limit, top);
        if (reason !== null) return reason;
        top = segment.vaddr + segment.memsz;
        segments.push(segment);
        if (phoff >= segment.offset && phoff + phnum * PHDR_BYTES <= segment.offset + segment.filesz)
          phdr = segment.vaddr + (phoff - segment.offset);
        break;
      }
      case PT_INTERP:
        if (interp !== null) break;
        if (segment.filesz < 2 || segment.filesz > PATH_MAX)
          return "an interpreter name of impossible length";
        if (segment.offset + segment.filesz > size) return "truncated: the interpreter's name is missing";
        interp = { offset: segment.offset, size: segment.filesz };
        break;
      case PT_PHDR:
        if (phdr === 0) phdr = segment.vaddr;
        break;
      case PT_GNU_STACK:
        executableStack = (segment.flags & PF_X) !== 0;
        break;
    }
  }
  if (segments.length === 0) return "nothing to load";
  const start = Math.floor(segments[0]!.vaddr / PAGE) * PAGE;
  const end = Math.ceil(top / PAGE) * PAGE;
  if (entry >= limit) return "an entry point outside the address space";
  return { dynamic, entry, phnum, phdr, segments, interp, executableStack, start, end };
}

function checkSegment(segment: Segment, n: number, size: number, limit: number, top: number): string | null {
  const { vaddr, offset, filesz, memsz } = segment;
  if (filesz > memsz) return `segment ${n} is larger in the file than in memory`;
  if (!(vaddr + memsz <= limit)) return `segment ${n} lies outside the address space`;
  if (filesz !== 0 && !(offset + filesz <= size)) return `truncated: segment ${n} is missing from the file`;
  if (filesz !== 0 && vaddr % PAGE !== offset % PAGE) return `segment ${n} is not aligned to pages`;
  if (vaddr < top) return `segment ${n} overlaps the one before`;
  return null;
}
