/** getdents64(2): file types in directory entries, and struct linux_dirent64. */
export const DT_UNKNOWN = 0;
export const DT_FIFO = 1;
export const DT_CHR = 2;
export const DT_DIR = 4;
export const DT_BLK = 6;
export const DT_REG = 8;
export const DT_LNK = 10;
export const DT_SOCK = 12;

/** struct linux_dirent64, byte offsets; the name follows, with its NUL, padded to 8 bytes. */
export const DIRENT = { INO: 0, OFF: 8, RECLEN: 16, TYPE: 18, NAME: 19 } as const;

/** DT_ type of a mode. */
export const modeToType = (mode: number): number => (mode >>> 12) & 15;
