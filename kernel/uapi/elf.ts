/** elf(5): the 64-bit format, and what the riscv64 psABI adds. Offsets are in bytes. */
export const EHDR_BYTES = 64;
export const PHDR_BYTES = 56;

export const EHDR = {
  CLASS: 4,
  DATA: 5,
  VERSION: 6,
  TYPE: 16,
  MACHINE: 18,
  ENTRY: 24,
  PHOFF: 32,
  FLAGS: 48,
  PHENTSIZE: 54,
  PHNUM: 56,
} as const;

export const PHDR = { TYPE: 0, FLAGS: 4, OFFSET: 8, VADDR: 16, FILESZ: 32, MEMSZ: 40, ALIGN: 48 } as const;

export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const EM_RISCV = 243;
export const EF_RISCV_RVE = 8;

export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_PHDR = 6;
export const PT_GNU_STACK = 0x6474_e551;

export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

/** Names of machines that users may try, by e_machine. */
export const MACHINES: ReadonlyMap<number, string> = new Map([
  [2, "SPARC"],
  [3, "Intel 80386"],
  [8, "MIPS"],
  [20, "PowerPC"],
  [21, "64-bit PowerPC"],
  [22, "IBM S/390"],
  [40, "ARM"],
  [62, "x86-64"],
  [183, "AArch64"],
  [243, "RISC-V"],
  [258, "LoongArch"],
]);
