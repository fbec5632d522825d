/** System calls on files, directories and mounts. */
import type { Syscall } from "../syscall.ts";
import * as attr from "./attr.ts";
import { fcntl, flock, ioctl } from "./fcntl.ts";
import * as inotify from "./inotify.ts";
import * as names from "./names.ts";
import { close, closeRange, dup, dup3, memfdCreate, openat, openat2 } from "./open.ts";
import * as readWrite from "./read-write.ts";
import * as stat from "./stat.ts";
import * as xattr from "./xattr.ts";

export const calls: readonly Syscall[] = [
  openat,
  openat2,
  close,
  closeRange,
  dup,
  dup3,
  memfdCreate,
  fcntl,
  flock,
  ioctl,
  ...Object.values(readWrite),
  ...Object.values(stat),
  ...Object.values(names),
  ...Object.values(inotify),
  ...Object.values(attr),
  ...Object.values(xattr),
];
