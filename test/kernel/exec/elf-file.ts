/** Small ELF files made by hand. */
export interface SegmentSpec {
  readonly vaddr: number;
  /** PF_ bits. */
  readonly flags: number;
  readonly content: Uint8Array;
  readonly memsz?: number;
}

export interface ElfSpec {
  readonly type?: number;
  readonly machine?: number;
  readonly class?: number;
  readonly entry: number;
  readonly interp?: string;
  readonly segments: readonly SegmentSpec[];
}

const PAGE = 4096;
export const HEADERS = PAGE;

/** The file: headers on the first page, then each segment at an offset that agrees with its address. */
export function elfFile(spec: ElfSpec): Uint8Array {
  const interp = spec.interp === undefined ? null : new TextEncoder().encode(`${spec.interp}\0`);
  const count = spec.segments.length + (interp === null ? 0 : 1);
  const offsets: number[] = [];
  let size = HEADERS;
  for (const segment of spec.segments) {
    const offset = size + (segment.vaddr % PAGE);
    offsets.push(offset);
    size = Math.ceil((offset + segment.content.length) / PAGE) * PAGE;
  }
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  const put64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  file.set([0x7f, 0x45, 0x4c, 0x46, spec.class ?? 2, 1, 1]);
  view.setUint16(16, spec.type ?? 2, true);
  view.setUint16(18, spec.machine ?? 243, true);
  view.setUint32(20, 1, true);
  put64(24, spec.entry);
  put64(32, 64);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, count, true);
  let at = 64;
  const header = (
    type: number,
    flags: number,
    offset: number,
    vaddr: number,
    filesz: number,
    memsz: number,
  ): void => {
    view.setUint32(at, type, true);
    view.setUint32(at + 4, flags, true);
    put64(at + 8, offset);
    put64(at + 16, vaddr);
    put64(at + 24, vaddr);
    put64(at + 32, filesz);
    put64(at + 40, memsz);
    put64(at + 48, PAGE);
    at += 56;
  };
  if (interp !== null) {
    file.set(interp, 2048);
    header(3, 4, 2048, 0, interp.length, interp.length);
  }
  spec.segments.forEach((segment, n) => {
    file.set(segment.content, offsets[n]!);
    const { content, memsz = content.length } = segment;
    header(1, segment.flags, offsets[n]!, segment.vaddr, content.length, memsz);
  });
  return file;
}
