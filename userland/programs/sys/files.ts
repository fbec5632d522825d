/** Files and folders: open(2), read(2), stat(2) and what is near them. */
import { AT_FDCWD, F_GETFD } from "../../../kernel/uapi/fcntl.ts";
import type { Steps } from "../program.ts";
import { TRANSFER_MAX } from "../scratch.ts";
import { MemoryCalls } from "./memory.ts";

const AT_REMOVEDIR = 0x200;
const AT_SYMLINK_NOFOLLOW = 0x100;

export interface Stat {
  readonly dev: number;
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly blocks: number;
  /** Seconds. */
  readonly mtime: number;
}
export interface DirEntry {
  readonly ino: number;
  readonly type: number;
  readonly name: string;
}

export abstract class FileCalls extends MemoryCalls {
  #path(name: string, dirfd: number, path: string, ...rest: readonly number[]): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call(name, dirfd, scratch.putString(path), ...rest);
    });
  }

  open(path: string, flags = 0, mode = 0): Steps<number> {
    return this.#path("openat", AT_FDCWD, path, flags, mode);
  }
  close(fd: number): Steps<number> {
    return this.call("close", fd);
  }

  /** Closes all descriptors from `first` to `last`. */
  closeRange(first: number, last = 0xffffffff): Steps<number> {
    return this.call("close_range", first, last, 0);
  }

  /** Reads into `into`, at most 64 KiB at a time; returns the number of bytes. */
  read(fd: number, into: Uint8Array): Steps<number> {
    return this.#readWith("read", fd, into);
  }
  pread(fd: number, into: Uint8Array, offset: number): Steps<number> {
    return this.#readWith("pread64", fd, into, offset);
  }
  #readWith(name: string, fd: number, into: Uint8Array, ...rest: readonly number[]): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      const length = Math.min(into.length, TRANSFER_MAX);
      const buffer = scratch.reserve(length);
      const n = yield* self.call(name, fd, buffer, length, ...rest);
      if (n > 0) into.set(self.memory.read(buffer, n));
      return n;
    });
  }

  /** Writes the bytes (text: UTF-8), at most 64 KiB at a time; returns how many were written. */
  write(fd: number, data: Uint8Array | string): Steps<number> {
    return this.#writeWith("write", fd, data);
  }
  pwrite(fd: number, data: Uint8Array | string, offset: number): Steps<number> {
    return this.#writeWith("pwrite64", fd, data, offset);
  }
  #writeWith(name: string, fd: number, data: Uint8Array | string, ...rest: readonly number[]): Steps<number> {
    const self = this;
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    return this.withScratch(function* (scratch) {
      const part = bytes.subarray(0, TRANSFER_MAX);
      return yield* self.call(name, fd, scratch.put(part), part.length, ...rest);
    });
  }

  /** Writes all of it, however many calls that takes. */
  *writeAll(fd: number, data: Uint8Array | string): Steps<number> {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let done = 0; done < bytes.length; ) {
      const n = yield* this.write(fd, bytes.subarray(done));
      if (n < 0) return n;
      done += n;
    }
    return bytes.length;
  }
  /** Text to standard output. */
  print(text: string): Steps<number> {
    return this.writeAll(1, text);
  }
  /** Everything up to end of file. */
  *readAll(fd: number): Steps<Uint8Array | number> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = new Uint8Array(TRANSFER_MAX);
      const n = yield* this.read(fd, part);
      if (n < 0) return n;
      if (n === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, n));
    }
  }

  lseek(fd: number, offset: number, whence: number): Steps<number> {
    return this.call("lseek", fd, offset, whence);
  }
  dup(fd: number): Steps<number> {
    return this.call("dup", fd);
  }
  *dup2(oldfd: number, newfd: number): Steps<number> {
    if (oldfd === newfd) {
      const flags = yield* this.fcntl(oldfd, F_GETFD);
      return flags < 0 ? flags : newfd;
    }
    return yield* this.call("dup3", oldfd, newfd, 0);
  }
  fcntl(fd: number, command: number, argument = 0): Steps<number> {
    return this.call("fcntl", fd, command, argument);
  }
  ftruncate(fd: number, length: number): Steps<number> {
    return this.call("ftruncate", fd, length);
  }
  mkdir(path: string, mode = 0o777): Steps<number> {
    return this.#path("mkdirat", AT_FDCWD, path, mode);
  }
  unlink(path: string): Steps<number> {
    return this.#path("unlinkat", AT_FDCWD, path, 0);
  }
  rmdir(path: string): Steps<number> {
    return this.#path("unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  }
  chdir(path: string): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("chdir", scratch.putString(path));
    });
  }
  rename(from: string, to: string): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call(
        "renameat2",
        AT_FDCWD,
        scratch.putString(from),
        AT_FDCWD,
        scratch.putString(to),
        0,
      );
    });
  }
  symlink(target: string, path: string): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      return yield* self.call("symlinkat", scratch.putString(target), AT_FDCWD, scratch.putString(path));
    });
  }
  readlink(path: string): Steps<string | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<string | number> {
      const buffer = scratch.reserve(4096);
      const n = yield* self.call("readlinkat", AT_FDCWD, scratch.putString(path), buffer, 4096);
      return n < 0 ? n : Buffer.from(self.memory.read(buffer, n)).toString("utf8");
    });
  }
  link(from: string, to: string): Steps<number> {
    const self = this;
    return this.withScratch(function* (scratch) {
      const [old, fresh] = [scratch.putString(from), scratch.putString(to)];
      return yield* self.call("linkat", AT_FDCWD, old, AT_FDCWD, fresh, 0);
    });
  }
  getcwd(): Steps<string | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<string | number> {
      const buffer = scratch.reserve(4096);
      const n = yield* self.call("getcwd", buffer, 4096);
      return n < 0 ? n : self.memory.string(buffer);
    });
  }
  stat(path: string): Steps<Stat | number> {
    return this.#stat(path, 0);
  }
  #stat(path: string, flags: number): Steps<Stat | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<Stat | number> {
      const buffer = scratch.reserve(128);
      const n = yield* self.call("newfstatat", AT_FDCWD, scratch.putString(path), buffer, flags);
      return n < 0 ? n : statAt(scratch.view(buffer, 128));
    });
  }
  /** `mode`: R_OK 4, W_OK 2, X_OK 1, F_OK 0. */
  access(path: string, mode = 0): Steps<number> {
    return this.#path("faccessat", AT_FDCWD, path, mode);
  }
  /** The link itself, when the path names one. */
  lstat(path: string): Steps<Stat | number> {
    return this.#stat(path, AT_SYMLINK_NOFOLLOW);
  }
  fstat(fd: number): Steps<Stat | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<Stat | number> {
      const buffer = scratch.reserve(128);
      const n = yield* self.call("fstat", fd, buffer);
      return n < 0 ? n : statAt(scratch.view(buffer, 128));
    });
  }
  /** All of a small file, as text. */
  *readFile(path: string): Steps<string | number> {
    const fd = yield* this.open(path);
    if (fd < 0) return fd;
    const bytes = yield* this.readAll(fd);
    yield* this.close(fd);
    return typeof bytes === "number" ? bytes : Buffer.from(bytes).toString("utf8");
  }
  /** The next entries of an open directory; none at its end. */
  getdents(fd: number): Steps<DirEntry[] | number> {
    const self = this;
    return this.withScratch(function* (scratch): Steps<DirEntry[] | number> {
      const buffer = scratch.reserve(16384);
      const n = yield* self.call("getdents64", fd, buffer, 16384);
      if (n < 0) return n;
      const bytes = Buffer.from(self.memory.read(buffer, n));
      const entries: DirEntry[] = [];
      for (let at = 0; at < n; at += bytes.readUInt16LE(at + 16)) {
        const end = bytes.indexOf(0, at + 19);
        entries.push({
          ino: Number(bytes.readBigUInt64LE(at)),
          type: bytes[at + 18]!,
          name: bytes.toString("utf8", at + 19, end),
        });
      }
      return entries;
    });
  }
}

/** struct stat of asm-generic. */
function statAt(view: DataView): Stat {
  const long = (offset: number) => Number(view.getBigInt64(offset, true));
  return {
    dev: long(0),
    ino: long(8),
    mode: view.getUint32(16, true),
    nlink: view.getUint32(20, true),
    uid: view.getUint32(24, true),
    gid: view.getUint32(28, true),
    rdev: long(32),
    size: long(48),
    blocks: long(64),
    mtime: long(88),
  };
}
