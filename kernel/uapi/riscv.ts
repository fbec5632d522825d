/**
 * The processor that riscv64 programs see: what its instruction set has, said in the three places where they look.
 * The engine's README says what an extension needs before it may be named here; test/riscv64/extensions.test.ts holds this to it.
 */

/** AT_HWCAP: one bit for each single-letter extension; here I M A F D C. */
export const HWCAP_RISCV = (1 << 8) | (1 << 12) | 1 | (1 << 5) | (1 << 3) | (1 << 2);

/** Extensions with longer names, in the order of the ISA string: their bit in riscv_hwprobe's IMA_EXT_0, or 0 where it has none. */
const EXTENSIONS: Readonly<Record<string, number>> = {
  zicsr: 0,
  zifencei: 0,
  zba: 1 << 3,
};

/** The "isa" line of /proc/cpuinfo. */
export const ISA_STRING = `rv64imafdc_${Object.keys(EXTENSIONS).join("_")}`;

/** riscv_hwprobe(2)'s RISCV_HWPROBE_KEY_IMA_EXT_0: FD, C, and a bit for each extension that has one. */
export const HWPROBE_IMA_EXT_0 = Object.values(EXTENSIONS).reduce((bits, bit) => bits | bit, 0b11);
