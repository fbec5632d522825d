/** Argument types of the file calls. */
import * as fcntl from "../../kernel/uapi/fcntl.ts";
import * as mountFlags from "../../kernel/uapi/mount.ts";
import { type Arg, accessFlags, flagSet, oneOf } from "../args.ts";

const { O_ACCMODE: _mask, O_RDONLY, O_WRONLY, O_RDWR, O_LARGEFILE, O_TMPFILE, ...others } = named("O_");

function named(prefix: string, from: object = fcntl): Record<string, number> {
  return Object.fromEntries(
    Object.entries(from).filter(([name, value]) => typeof value === "number" && name.startsWith(prefix)),
  ) as Record<string, number>;
}

/** open(2) flags. */
export const oflags: Arg = accessFlags(
  { O_RDONLY: O_RDONLY!, O_WRONLY: O_WRONLY!, O_RDWR: O_RDWR! },
  flagSet({ ...others, O_LARGEFILE: O_LARGEFILE!, O_TMPFILE: O_TMPFILE! }),
);
export const atFlags: Arg = flagSet({
  AT_SYMLINK_NOFOLLOW: fcntl.AT_SYMLINK_NOFOLLOW,
  AT_SYMLINK_FOLLOW: fcntl.AT_SYMLINK_FOLLOW,
  AT_NO_AUTOMOUNT: fcntl.AT_NO_AUTOMOUNT,
  AT_EMPTY_PATH: fcntl.AT_EMPTY_PATH,
});
export const unlinkFlags: Arg = flagSet({ AT_REMOVEDIR: fcntl.AT_REMOVEDIR });
export const accessFlagsArg: Arg = flagSet({
  AT_EACCESS: fcntl.AT_EACCESS,
  AT_SYMLINK_NOFOLLOW: fcntl.AT_SYMLINK_NOFOLLOW,
  AT_EMPTY_PATH: fcntl.AT_EMPTY_PATH,
});
export const accessMode: Arg = flagSet({ F_OK: 0, R_OK: fcntl.R_OK, W_OK: fcntl.W_OK, X_OK: fcntl.X_OK });
export const renameFlags: Arg = flagSet(named("RENAME_"));
export const fallocFlags: Arg = flagSet(named("FALLOC_FL_"));
export const rwf: Arg = flagSet(named("RWF_"));
export const mfdFlags: Arg = flagSet(named("MFD_"));
export const closeRangeFlags: Arg = flagSet(named("CLOSE_RANGE_"));
export const whence: Arg = oneOf(named("SEEK_"));
export const flockOp: Arg = flagSet(named("LOCK_"));
export const mountArg: Arg = flagSet(named("MS_", mountFlags));
export const umountArg: Arg = flagSet({
  ...named("MNT_", mountFlags),
  UMOUNT_NOFOLLOW: mountFlags.UMOUNT_NOFOLLOW,
});

const commands = named("F_");
const NOT_COMMANDS = /^F_(OK|SEAL_.*|OWNER_.*|RDLCK|WRLCK|UNLCK)$/;
export const fcntlCommand: Arg = oneOf(
  Object.fromEntries(Object.entries(commands).filter(([name]) => !NOT_COMMANDS.test(name))),
);
export const advice: Arg = oneOf({
  POSIX_FADV_NORMAL: 0,
  POSIX_FADV_RANDOM: 1,
  POSIX_FADV_SEQUENTIAL: 2,
  POSIX_FADV_WILLNEED: 3,
  POSIX_FADV_DONTNEED: 4,
  POSIX_FADV_NOREUSE: 5,
});
