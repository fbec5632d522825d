/** What /proc shows of a process's memory: maps, smaps, cmdline, environ, auxv, the program itself. */
import { type RcuScope, type Ref, rcuReadLock, rcuReadUnlock } from "../../rcu/index.ts";
import { File } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { Superblock } from "../fs/super.ts";
import { Mm, mmGetNotZero, mmPut } from "../mm/mm.ts";
import { PTE_ANON, PTE_WRITE, pteFrame, pteGet, pteWalk } from "../mm/pte.ts";
import { PAGE_SIZE, ram } from "../mm/ram.ts";
import { mmRead, mmWrite } from "../mm/remote.ts";
import {
  forEachVma,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_LOCKED,
  VM_NORESERVE,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
  Vma,
} from "../mm/vma.ts";
import { mayAccessMemory, mayInspect } from "../task/ptrace.ts";
import { Task } from "../task/task.ts";
import { EACCES, EFAULT, EIO, ENOENT } from "../uapi/errno.ts";
import { major, minor } from "../uapi/stat.ts";
import { type ProcAt, procFile, procLink, procRawFile, procSequence } from "./node.ts";
import { fileName } from "./path.ts";

/** Address space of a task: it stays readable for the rest of the handler; 0 for kernel tasks and zombies. */
export function mmOf(task: Ref<"task">): Ref<"mm"> | 0 {
  const scope: RcuScope = rcuReadLock();
  const mm = Task.mm.deref(scope, task);
  rcuReadUnlock();
  return mm;
}

const hex = (value: number): string => value.toString(16).padStart(8, "0");
/** Where path names start, as in Linux on a 64-bit machine. */
const NAME_COLUMN = 73;

/** The part of a maps line before the name, and the name. */
function mapsLine(mm: Ref<"mm">, vma: Ref<"vma">): string {
  const start = Vma.start.get(vma) * PAGE_SIZE;
  const end = Vma.end.get(vma) * PAGE_SIZE;
  const flags = Vma.flags.get(vma);
  const bit = (mask: number, letter: string): string => ((flags & mask) !== 0 ? letter : "-");
  const rights =
    bit(VM_READ, "r") + bit(VM_WRITE, "w") + bit(VM_EXEC, "x") + ((flags & VM_SHARED) !== 0 ? "s" : "p");
  const file = Vma.file.get(vma);
  let offset = 0;
  let device = 0;
  let ino = 0;
  let name = "";
  if (file !== 0) {
    const inode = File.inode.get(file);
    offset = Vma.pgoff.get(vma) * PAGE_SIZE;
    device = Superblock.dev.get(Inode.sb.get(inode));
    ino = Inode.ino.get(inode);
    name = fileName(file);
  } else if ((flags & VM_SPECIAL) !== 0) name = "[vdso]";
  else if (start <= Mm.startStack.get(mm) && Mm.startStack.get(mm) < end) name = "[stack]";
  else if (start < Mm.brk.get(mm) && end > Mm.brkStart.get(mm)) name = "[heap]";
  const number = (value: number): string => value.toString(16).padStart(2, "0");
  const head = `${hex(start)}-${hex(end)} ${rights} ${hex(offset)} ${number(major(device))}:${number(minor(device))} ${ino} `;
  return name === "" ? head : head.padEnd(NAME_COLUMN) + name;
}

/** A file with a text for each area: pieces of `most` areas, which begin at a page. */
function areasFile(path: string, most: number, describe: (mm: Ref<"mm">, vma: Ref<"vma">) => string): void {
  procSequence(path, ({ task }, from) => {
    const mm = mmOf(task);
    let text = "";
    let count = 0;
    let next = -1;
    if (mm !== 0)
      forEachVma(
        mm,
        (vma) => {
          if (count++ === most) return false;
          text += describe(mm, vma);
          next = Vma.end.get(vma);
          return true;
        },
        from,
      );
    return { text, next: count > most ? next : -1 };
  });
}

areasFile("PID/maps", 256, (mm, vma) => `${mapsLine(mm, vma)}\n`);

const KIB_PER_PAGE = PAGE_SIZE / 1024;
const kib = (pages: number): string => `${String(pages * KIB_PER_PAGE).padStart(8)} kB`;

areasFile("PID/smaps", 64, (mm, vma) => {
  let present = 0;
  let anonymous = 0;
  let writable = 0;
  pteWalk(Mm.pgd.get(mm), Vma.start.get(vma), Vma.end.get(vma), (_table, _page, pte) => {
    present++;
    if ((pte & PTE_ANON) !== 0) anonymous++;
    if ((pte & PTE_WRITE) !== 0) writable++;
  });
  const flags = Vma.flags.get(vma);
  const fields: [string, number][] = [
    ["Size", Vma.end.get(vma) - Vma.start.get(vma)],
    ["KernelPageSize", 1],
    ["MMUPageSize", 1],
    ["Rss", present],
    ["Pss", present],
    ["Shared_Clean", 0],
    ["Shared_Dirty", 0],
    ["Private_Clean", present - writable],
    ["Private_Dirty", writable],
    ["Referenced", present],
    ["Anonymous", anonymous],
    ["Swap", 0],
    ["Locked", (flags & VM_LOCKED) !== 0 ? present : 0],
  ];
  let text = `${mapsLine(mm, vma)}\n`;
  for (const [name, pages] of fields) text += `${`${name}:`.padEnd(16)}${kib(pages)}\n`;
  return `${text}VmFlags: ${vmFlags(flags)}\n`;
});

function vmFlags(flags: number): string {
  const names: [number, string][] = [
    [VM_READ, "rd"],
    [VM_WRITE, "wr"],
    [VM_EXEC, "ex"],
    [VM_SHARED, "sh"],
    [VM_GROWSDOWN, "gd"],
    [VM_LOCKED, "lo"],
    [VM_NORESERVE, "nr"],
  ];
  return names
    .filter(([mask]) => (flags & mask) !== 0)
    .map(([, name]) => `${name} `)
    .join("");
}

/** Bytes of another address space, as far as its pages are present. */
export function readRemote(mm: Ref<"mm">, start: number, end: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, end - start));
  for (let done = 0; done < bytes.length; ) {
    const address = start + done;
    const pte = pteGet(Mm.pgd.get(mm), Math.floor(address / PAGE_SIZE));
    const within = address % PAGE_SIZE;
    const chunk = Math.min(bytes.length - done, PAGE_SIZE - within);
    if (pte === 0) return bytes.subarray(0, done);
    const from = pteFrame(pte) + within;
    bytes.set(ram.u8.subarray(from, from + chunk), done);
    done += chunk;
  }
  return bytes;
}

const area = (task: Ref<"task">, start: typeof Mm.argStart, end: typeof Mm.argEnd): Uint8Array => {
  const mm = mmOf(task);
  return mm === 0 ? new Uint8Array(0) : readRemote(mm, start.get(mm), end.get(mm));
};

procFile("PID/cmdline", ({ task }) => area(task, Mm.argStart, Mm.argEnd));
procFile("PID/environ", ({ task }) => (mayInspect(task) ? area(task, Mm.envStart, Mm.envEnd) : -EACCES), {
  mode: 0o400,
});
procFile(
  "PID/auxv",
  ({ task }) => {
    if (!mayInspect(task)) return -EACCES;
    const mm = mmOf(task);
    if (mm === 0) return "";
    const start = Mm.auxv.get(mm);
    return readRemote(mm, start, start + Mm.auxvBytes.get(mm));
  },
  { mode: 0o400 },
);

/** Bytes that /proc/PID/mem moves at once. */
const MEM_CHUNK = 65536;

/** Runs `move` on the task's address space, kept meanwhile; 0 when it is gone, -EACCES when the current task may not. */
function withMm(task: Ref<"task">, move: (mm: Ref<"mm">) => number): number {
  if (!mayAccessMemory(task)) return -EACCES;
  const mm = mmOf(task);
  if (mm === 0 || !mmGetNotZero(mm)) return 0;
  const result = move(mm);
  mmPut(mm);
  return result;
}

procRawFile("PID/mem", 0o600, {
  read: ({ task }, io, pos) =>
    withMm(task, (mm) => {
      if (io.remaining === 0) return 0;
      const bytes = mmRead(mm, pos, Math.min(io.remaining, MEM_CHUNK));
      return bytes.length === 0 ? -EIO : io.copyTo(bytes, 0, bytes.length);
    }),
  write: ({ task }, io, pos) =>
    withMm(task, (mm) => {
      const bytes = new Uint8Array(Math.min(io.remaining, MEM_CHUNK));
      if (io.copyFrom(bytes, 0, bytes.length) !== bytes.length) return -EFAULT;
      return pos + bytes.length <= 2 ** 32 && mmWrite(mm, pos, bytes) ? bytes.length : -EIO;
    }),
});

/** The open file that a process was loaded from; 0 when it has none. */
function exeOf({ task }: ProcAt): Ref<"file"> | 0 {
  const mm = mmOf(task);
  return mm === 0 ? 0 : Mm.exe.access(mm);
}

procLink(
  "PID/exe",
  (at) => {
    const file = exeOf(at);
    return file === 0 ? -ENOENT : fileName(file);
  },
  (at, link) => {
    const file = exeOf(at);
    if (file === 0) return -ENOENT;
    const mount = File.mount.get(file);
    const dentry = File.dentry.get(file);
    if (mount === 0 || dentry === 0) return -EACCES;
    link.mount = mount;
    link.dentry = dentry;
    return 0;
  },
);
