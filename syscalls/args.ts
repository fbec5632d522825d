/**
 * Argument types of system calls: how a register becomes a number, which numbers reach the handler, and how strace
 * prints them.
 *
 * A type carries the range of its argument, so a handler never sees a number outside of it. What becomes of others depends on
 * what Linux looks at first: `within` and `only` fail the call before anything else is looked at; `orElse` gives the handler
 * a number that stands for all others, which it refuses in its own time.
 */

import { copyFromUser, strncpyFromUser } from "../kernel/mm/uaccess.ts";
import type { PathArgument } from "../kernel/subsystem/call-paths.ts";
import { EINVAL, ERRNO } from "../kernel/uapi/errno.ts";
import { NSIG, signalName } from "../kernel/uapi/signal.ts";

/** How the 64 bits of a register become a JavaScript number. */
export const DECODE = {
  /** Low 32 bits, signed: int, pid_t, fd. */
  INT: 0,
  /** Low 32 bits, unsigned: unsigned int, mode_t, uid_t. */
  UINT: 1,
  /** All 64 bits, signed: long, off_t. Exact below 2^53, beyond that rounded down (kernel/mm/uaccess.ts). */
  LONG: 2,
  /** All 64 bits, unsigned: size_t, unsigned long, pointers. Rounded as LONG; a wild pointer is just >= 2^32. */
  ULONG: 3,
  /**
   * An unsigned long that is an int for some commands and a pointer for others. Its low 32 bits are always exact (`value | 0`), a small
   * negative int is itself, and what has more bits is some number from 2^32 on.
   */
  WORD: 4,
} as const;

/** What formatting may look at: all decoded arguments, and the result once there is one. */
export interface CallView {
  readonly args: readonly number[];
  /** Result of the call; -1 before it ran. */
  readonly result: number;
}

/** Which decoded numbers reach a handler. */
export interface Range {
  readonly min: number;
  readonly max: number;
  /** The bits that may be set, all in the low 32: instead of `min` and `max`. */
  readonly bits?: number;
  /** What the call answers to any other number, without its handler: -errno. 0: the handler gets `instead`. */
  readonly error: number;
  readonly instead: number;
}

export interface Arg {
  readonly decode: number;
  /** Absent: every number that `decode` makes. */
  readonly range?: Range;
  /** The kernel writes what the argument points to: print it after the call. */
  readonly out?: boolean;
  /** Besides `path`: it leads to a path in another way. */
  readonly names?: Pick<PathArgument, "address" | "onlyWith">;
  /** The values that have names, of a set of bits each mask: what a fuzzer tries first. */
  readonly values?: readonly number[];
  /** One of `values` selects what the call does. */
  readonly selector?: boolean;
  format(value: number, call: CallView): string;
}

/** A signed 64-bit value as the register that held it, in hexadecimal. */
export const hexWord = (value: number): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;
const hex = (value: number): string => `0x${value.toString(16)}`;
const decimal = (value: number): string => String(value);
const plain = (decode: number, format: (value: number) => string = decimal): Arg => ({ decode, format });

/** Numbers outside of min..max fail the call before its handler runs. */
export const within = (arg: Arg, min: number, max: number, errno = EINVAL): Arg => ({
  ...arg,
  range: { min, max, error: -errno, instead: 0 },
});
/** Bits outside of `bits` fail the call before its handler runs. All 64 bits count where the type decodes them. */
export const only = (arg: Arg, bits: number, errno = EINVAL): Arg => ({
  ...arg,
  range: { min: 0, max: bits >>> 0, bits, error: -errno, instead: 0 },
});
/** Numbers outside of min..max reach the handler as `instead`. */
export const orElse = (arg: Arg, min: number, max: number, instead: number): Arg => ({
  ...arg,
  range: { min, max, error: 0, instead },
});

/** Whether a decoded number is in the range. */
export function inRange(range: Range, value: number): boolean {
  const { bits } = range;
  if (bits === undefined) return value >= range.min && value <= range.max;
  return value < 2 ** 32 && value >= -(2 ** 31) && (value & ~bits) === 0;
}

/** int. */
export const int = plain(DECODE.INT);
export const uint = plain(DECODE.UINT);
/** Signed 64-bit: off_t, long. */
export const long = plain(DECODE.LONG);
export const off = long;
/** Unsigned 64-bit: size_t, unsigned long. */
export const ulong = plain(DECODE.ULONG);
export const size = ulong;
/** Unsigned long printed in hexadecimal. */
export const hexArg = plain(DECODE.ULONG, hex);
/** The argument of calls with many commands. */
export const word = plain(DECODE.WORD, hexWord);
/** Such an argument where it is a pointer: negative numbers are addresses beyond every address space. */
export const asPointer = (value: number): number => (value < 0 ? value + 2 ** 64 : value);
/** A pointer that strace does not follow. */
export const ptr = plain(DECODE.ULONG, (value) => (value === 0 ? "NULL" : hex(value)));
/** struct sockaddr; its length is argument `length`. */
export const sockaddr = (length: number): Arg => ({ ...ptr, names: { address: { length } } });
/** struct msghdr of a message that is sent, perhaps to a named socket. */
export const messageOut: Arg = { ...ptr, names: { address: "message" } };
/** An array of struct mmsghdr; their number is argument `count`. */
export const messagesOut = (count: number): Arg => ({ ...ptr, names: { address: { messages: count } } });
export const fd = plain(DECODE.INT);
export const pid = plain(DECODE.INT);
export const uid = plain(DECODE.UINT, (value) => (value === 0xffffffff ? "-1" : String(value)));

/** A signal number that is none, as a handler sees it. */
export const NO_SIGNAL = -1;
/** Number of a signal, or 0; NO_SIGNAL for every other number, so that none can be an index or a bit by mistake. */
export const signal = orElse(
  {
    decode: DECODE.INT,
    values: Array.from({ length: NSIG + 1 }, (_, signo) => signo),
    format: (value: number) => signalName(value),
  },
  0,
  NSIG,
  NO_SIGNAL,
);

/** Directory descriptor: AT_FDCWD is -100. */
export const dirfd = plain(DECODE.INT, (value) => (value === -100 ? "AT_FDCWD" : String(value)));

/** File mode bits, printed in octal. */
export const mode = plain(DECODE.UINT, (value) => `0${(value & 0o7777).toString(8).padStart(3, "0")}`);

const STRACE_STRING = 32;
const PATH_MAX = 4096;

/** Quotes bytes as strace does, at most `limit` of them. */
export function quote(bytes: Uint8Array, limit = STRACE_STRING): string {
  let text = "";
  const shown = Math.min(bytes.length, limit);
  for (let i = 0; i < shown; i++) {
    const byte = bytes[i]!;
    if (byte === 0x0a) text += "\\n";
    else if (byte === 0x09) text += "\\t";
    else if (byte === 0x0d) text += "\\r";
    else if (byte === 0x0b) text += "\\v";
    else if (byte === 0x0c) text += "\\f";
    else if (byte === 0x22) text += '\\"';
    else if (byte === 0x5c) text += "\\\\";
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte);
    else {
      const next = bytes[i + 1];
      const digits = next !== undefined && i + 1 < shown && next >= 0x30 && next <= 0x39 ? 3 : 0;
      text += `\\${byte.toString(8).padStart(digits, "0")}`;
    }
  }
  return `"${text}"${bytes.length > limit ? "..." : ""}`;
}

function quoteUser(address: number, length: number): string {
  const bytes = copyFromUser(address, Math.min(length, STRACE_STRING + 1));
  return bytes === null ? hex(address) : quote(bytes);
}

/** NUL-terminated path name, read by the call. */
export const path: Arg = {
  decode: DECODE.ULONG,
  format(value) {
    if (value === 0) return "NULL";
    const bytes = strncpyFromUser(value, PATH_MAX);
    return typeof bytes === "number" ? hex(value) : quote(bytes, PATH_MAX);
  },
};

/** What a symbolic link says: printed like a path, but this call looks nothing up by it. */
export const linkTarget: Arg = { ...path };

/** NUL-terminated string other than a path. */
export const str: Arg = {
  decode: DECODE.ULONG,
  format(value) {
    if (value === 0) return "NULL";
    const bytes = strncpyFromUser(value, PATH_MAX);
    return typeof bytes === "number" ? hex(value) : quote(bytes);
  },
};

/** Source of mount(2): a path when argument `flags` has one of `bits`, else anything. */
export const mountSource = (flags: number, bits: number): Arg => ({
  ...str,
  names: { onlyWith: { arg: flags, bits } },
});

/** Bytes that the call reads; their number is argument `lengthArg`. */
export const inBuffer = (lengthArg: number): Arg => ({
  decode: DECODE.ULONG,
  format: (value, call) => (value === 0 ? "NULL" : quoteUser(value, call.args[lengthArg]!)),
});

/** Bytes that the call writes; their number is the result. */
export const outBuffer: Arg = {
  decode: DECODE.ULONG,
  out: true,
  format: (value, call) =>
    value === 0 ? "NULL" : call.result < 0 ? hex(value) : quoteUser(value, call.result),
};

/** A set of bits: names to masks. A name whose mask is 0 is printed when no bit is set. Leftover bits in hexadecimal. */
export function flagSet(names: Readonly<Record<string, number>>, decode: number = DECODE.UINT): Arg {
  const entries = Object.entries(names);
  const zero = entries.find(([, mask]) => mask === 0)?.[0] ?? "0";
  const masks = entries.filter(([, mask]) => mask !== 0).sort((a, b) => bits(b[1]) - bits(a[1]));
  return {
    decode,
    values: Object.values(names),
    format(value) {
      if (value === 0) return zero;
      let rest = value >>> 0;
      const found: string[] = [];
      for (const [name, mask] of masks) {
        if ((rest & mask) >>> 0 !== mask >>> 0) continue;
        found.push(name);
        rest = (rest & ~mask) >>> 0;
      }
      if (rest !== 0) found.push(hex(rest));
      return found.join("|");
    },
  };
}

const bits = (mask: number): number => mask.toString(2).replaceAll("0", "").replace("-", "").length;

/** One of several values: names to values. */
export function oneOf(names: Readonly<Record<string, number>>, decode: number = DECODE.INT): Arg {
  const byValue = new Map(Object.entries(names).map(([name, value]) => [value, name]));
  return {
    decode,
    values: Object.values(names),
    selector: true,
    format: (value) => byValue.get(value) ?? hex(value >>> 0),
  };
}

/** open(2) flags: the access mode is a number, the rest are bits. */
export function accessFlags(access: Readonly<Record<string, number>>, rest: Arg): Arg {
  const byValue = new Map(Object.entries(access).map(([name, value]) => [value, name]));
  return {
    decode: DECODE.INT,
    values: [...Object.values(access), ...(rest.values ?? [])],
    format(value, call) {
      const name = byValue.get(value & 3) ?? "O_ACCMODE";
      const others = value & ~3;
      return others === 0 ? name : `${name}|${rest.format(others, call)}`;
    },
  };
}

const int64At = (bytes: Uint8Array, offset: number): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(offset, true);

const formatTimespec = (value: number): string => {
  if (value === 0) return "NULL";
  const bytes = copyFromUser(value, 16);
  return bytes === null ? hex(value) : `{tv_sec=${int64At(bytes, 0)}, tv_nsec=${int64At(bytes, 8)}}`;
};

/** struct timespec that the call reads. */
export const timespec: Arg = { decode: DECODE.ULONG, format: formatTimespec };
/** struct timespec that the call fills. */
export const outTimespec: Arg = { decode: DECODE.ULONG, out: true, format: formatTimespec };

/** int[2] that the call fills: pipe2, socketpair. */
export const outFdPair: Arg = {
  decode: DECODE.ULONG,
  out: true,
  format(value, call) {
    const bytes = call.result < 0 ? null : copyFromUser(value, 8);
    if (bytes === null) return value === 0 ? "NULL" : hex(value);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return `[${view.getInt32(0, true)}, ${view.getInt32(4, true)}]`;
  },
};

/** NULL-terminated array of strings: argv. */
export const strings: Arg = {
  decode: DECODE.ULONG,
  format(value) {
    if (value === 0) return "NULL";
    const shown: string[] = [];
    for (let at = value; shown.length < 32; at += 8) {
      const word = copyFromUser(at, 8);
      if (word === null) return hex(value);
      const pointer = Number(new DataView(word.buffer, word.byteOffset).getBigUint64(0, true));
      if (pointer === 0) return `[${shown.join(", ")}]`;
      shown.push(str.format(pointer, { args: [], result: 0 }));
    }
    return `[${shown.join(", ")}, ...]`;
  },
};

/** Counted no further: execve answers E2BIG long before there are many more. */
const MANY_STRINGS = 100_000;
/** NULL-terminated array of strings of which only the number is printed: envp. */
export const stringCount: Arg = {
  decode: DECODE.ULONG,
  format(value) {
    if (value === 0) return "NULL";
    let count = 0;
    for (let at = value; ; at += 8, count++) {
      if (count > MANY_STRINGS) return `${hex(value)} /* more than ${MANY_STRINGS} vars */`;
      const word = copyFromUser(at, 8);
      if (word === null) return hex(value);
      if (new DataView(word.buffer, word.byteOffset).getBigUint64(0, true) === 0n) break;
    }
    return `${hex(value)} /* ${count} vars */`;
  },
};

/** A result as strace prints it: value, or -1 with the error's name and text. */
export function formatResult(result: number, returns: Arg | undefined): string {
  if (result < 0 && result > -4096) {
    const error = ERRNO.get(-result);
    return error === undefined ? `-1 (errno ${-result})` : `-1 ${error.name} (${error.text})`;
  }
  return returns === undefined ? String(result) : returns.format(result, { args: [], result });
}
