/** Mount options of tmpfs(5). */
import { frameTotal } from "../mm/frame.ts";
import { PAGE_SIZE } from "../mm/ram.ts";

/** What was given. */
export interface TmpfsOptions {
  /** Pages of all files together; Infinity: no limit. */
  pages?: number;
  /** Inodes; Infinity: no limit. */
  inodes?: number;
  mode?: number;
  uid?: number;
  gid?: number;
}

/** Pages, and inodes, of a tmpfs that is not told otherwise: half of RAM's pages. */
export const defaultSize = (): number => frameTotal() >> 1;

/** Options that are right and change nothing here: memory is neither swapped nor huge, and inode numbers have 32 bits. */
const WITHOUT_EFFECT = /^(huge=(never|always|within_size|advise)|inode32|inode64|noswap)$/;

/** A number with a suffix k, m, g, t; null when it is none. */
function sized(text: string): number | null {
  const [, digits, suffix] = /^(\d+)([kmgt]?)$/i.exec(text) ?? [];
  return digits === undefined
    ? null
    : Number(digits) * 1024 ** " kmgt".indexOf((suffix || " ").toLowerCase());
}

/** Bytes, or a part of RAM in percent, in pages. */
function pagesOf(text: string): number | null {
  const percent = /^(\d+)%$/.exec(text)?.[1];
  if (percent !== undefined) return Math.ceil((frameTotal() * Number(percent)) / 100);
  const bytes = sized(text);
  return bytes === null ? null : Math.ceil(bytes / PAGE_SIZE);
}

const based = (text: string, base: number, digits: RegExp): number | null =>
  digits.test(text) ? Number.parseInt(text, base) : null;
/** A user or group id: 32 bits, and not the one that means none. */
const idOf = (text: string): number | null => {
  const id = based(text, 10, /^\d{1,10}$/);
  return id !== null && id < 0xffffffff ? id : null;
};
const unlimited = (count: number | null): number | null => (count === 0 ? Infinity : count);

/** Null when there is one that tmpfs does not know, or a value that is none (EINVAL). */
export function parseTmpfsOptions(text: string): TmpfsOptions | null {
  const found: TmpfsOptions = {};
  for (const each of text.split(",")) {
    if (each === "" || WITHOUT_EFFECT.test(each)) continue;
    const [, name, value] = /^([a-z_]+)=(.*)$/.exec(each) ?? [];
    const read = name === undefined ? undefined : READERS[name];
    const number = read?.[1](value!) ?? null;
    if (read === undefined || number === null) return null;
    found[read[0]] = number;
  }
  return found;
}

const READERS: Readonly<
  Record<string, readonly [keyof TmpfsOptions, (text: string) => number | null] | undefined>
> = {
  size: ["pages", (text) => unlimited(pagesOf(text))],
  nr_blocks: ["pages", (text) => unlimited(sized(text))],
  nr_inodes: ["inodes", (text) => unlimited(sized(text))],
  mode: ["mode", (text) => based(text, 8, /^[0-7]{1,6}$/)],
  uid: ["uid", idOf],
  gid: ["gid", idOf],
};
