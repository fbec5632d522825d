/** struct utsname: six fields of 65 bytes. */
export const UTS_FIELD = 65;
export const UTS_BYTES = UTS_FIELD * 6;
export const SYSNAME = "Linux";
export const RELEASE = "6.6.0-sternix";
export const VERSION = "#1 SMP PREEMPT";
export const MACHINE = "riscv64";
