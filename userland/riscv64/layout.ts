/**
 * What the engine keeps in its CPU area (byte offsets from `UserModeHost.cpuArea`). Nobody else touches it,
 * apart from the needResched word at offset 0, and engines of other CPUs, which read the log of units. Everything is zero at boot.
 */

import { CPU_AREA_KEPT } from "../../kernel/usermode.ts";

/** i64: the current code space number in the upper half, 0 below: or it with a pc to get a tag. */
export const SPACE_TAG = 8;

/** i64 operands and result of the out-of-line floating point and CSR paths. */
export const SCRATCH_A = 64;
export const SCRATCH_B = 72;
export const SCRATCH_C = 80;
export const SCRATCH_RESULT = 88;
/** 16 bytes where accesses that cross a page are put together. */
export const SCRATCH_BYTES = 96;

/** Jump cache: {tag i64, table index i32, unused i32} indexed by pc/2. */
export const JUMP_CACHE = 0x1_0000;
export const JUMP_CACHE_ENTRIES = 16384;
export const JUMP_CACHE_MASK = (JUMP_CACHE_ENTRIES - 1) << 4;

/** Where predecoded pages are: {tag i64 (space, virtual page), byte address i32, unused i32} by page number. */
export const PAGE_CACHE = 0x6_0000;
export const PAGE_CACHE_ENTRIES = 1024;

/** How often units left to the interpreter for an instruction: one i32 for each hash of the pc. */
export const SIDE_EXITS = 0x7_0000;
export const SIDE_EXITS_MASK = 4095 << 2;

/** Records of an instruction that straddles two pages: never cached, since the pages may change apart. */
export const CROSS_RECORDS = 0x8_0000;

/** Predecoded pages. */
export const PREDECODE = 0x10_0000;

/** One record per halfword of a page, and sentinels for running off its end. */
export const RECORD_BYTES = 16;
export const PREDECODED_PAGE_BYTES = 2048 * RECORD_BYTES + 64;
export const PREDECODED_PAGES = Math.floor((CPU_AREA_KEPT.START - PREDECODE) / PREDECODED_PAGE_BYTES);

/** Units for other CPUs: see published.ts. */
export const UNIT_LOG = CPU_AREA_KEPT.START;
export const UNIT_LOG_BYTES = CPU_AREA_KEPT.END - CPU_AREA_KEPT.START;

/** Fields of a record. Operands are byte offsets into the register file. */
export const RECORD = {
  OP: 0, // u16, index of the semantics table; see OP_* below for the first few
  LEN: 2, // u8, bytes of the instruction
  RD: 4, // u16
  RS1: 6, // u16
  RS2: 8, // u16
  HEAT: 10, // u16, arrivals by call, indirect jump or backward branch
  IMM: 12, // i32; floating point: rs3 | fast-path mask << 16 | rm << 24
} as const;

/** Record operations that are not instructions. */
export const OP_UNDECODED = 0;
export const OP_PAGE_END = 1;
export const OP_ILLEGAL = 2;
export const OP_FIRST_INSTRUCTION = 3;

/**
 * Software TLBs, one word per virtual page: frame base - page base, 0 invalid. They are indexed by
 * rotr(va, 10) with the low address bits kept, so that a misaligned access reads the zeroes behind the table.
 */
export const TLB_LOAD = 0x400_0000;
export const TLB_STORE = 0x600_0000;
export const TLB_INDEX = 0x3f_fffc;
