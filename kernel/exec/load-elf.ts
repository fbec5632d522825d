/** ELF programs: static, static-pie, and dynamic ones with the interpreter that PT_INTERP names. */
import type { Ref } from "../../rcu/index.ts";
import { File, fput } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { kernelRead } from "../fs/read-write.ts";
import { CODE_EXEC, type CodeChange, execCodeSpace, fileMark } from "../mm/codespace.ts";
import { fileBacking } from "../mm/filemap.ts";
import { Mm, TASK_SIZE, VDSO_BASE } from "../mm/mm.ts";
import { chooseAddress, mapPages } from "../mm/mmap.ts";
import { PAGE_SIZE } from "../mm/ram.ts";
import { mmClear } from "../mm/remote.ts";
import { vdsoMapping } from "../mm/shmem.ts";
import { VM_EXEC, VM_MAYWRITE, VM_READ, VM_SPECIAL, VM_WRITE } from "../mm/vma.ts";
import { credOf } from "../task/cred.ts";
import { Cred } from "../task/task.ts";
import {
  AT_BASE,
  AT_CLKTCK,
  AT_EGID,
  AT_ENTRY,
  AT_EUID,
  AT_FLAGS,
  AT_GID,
  AT_HWCAP,
  AT_MINSIGSTKSZ,
  AT_PAGESZ,
  AT_PHDR,
  AT_PHENT,
  AT_PHNUM,
  AT_SECURE,
  AT_UID,
} from "../uapi/auxv.ts";
import { PF_R, PF_W, PF_X, PHDR_BYTES } from "../uapi/elf.ts";
import { EINVAL, EIO, ELIBBAD, ENOEXEC, ENOMEM } from "../uapi/errno.ts";
import { MAP_FIXED, MAP_FIXED_NOREPLACE } from "../uapi/mman.ts";
import { HWCAP_RISCV } from "../uapi/riscv.ts";
import { type Bprm, registerBinfmt, setExecReason } from "./binfmt.ts";
import { type ElfImage, isElf, parseElf, type Segment } from "./elf.ts";
import { openExec } from "./open.ts";
import { setupStack } from "./stack.ts";

/** Where position-independent programs go; their heap grows behind them. */
export const PIE_BASE = 0x0020_0000;
const CLOCKS_PER_SEC = 100;
/** What a signal frame takes (rt_sigframe of riscv64), rounded up as Linux reports it. */
const MINSIGSTKSZ = 2048;

const pageDown = (bytes: number): number => Math.floor(bytes / PAGE_SIZE) * PAGE_SIZE;
const pageUp = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;

/** The headers of an open file, why it is not a program, or -errno when it cannot be read. */
function imageOf(file: Ref<"file">): ElfImage | string | number {
  const size = Inode.size.racy(File.inode.get(file));
  let error = 0;
  const readAt = (offset: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const got = kernelRead(file, bytes.subarray(done), offset + done);
      if (got < 0) error = got;
      if (got <= 0) break;
      done += got;
    }
    return bytes.subarray(0, done);
  };
  const image = parseElf(readAt, size, TASK_SIZE);
  return error < 0 ? error : image;
}

function loadElf(bprm: Bprm): number {
  if (!isElf(bprm.header)) return -ENOEXEC;
  const image = imageOf(bprm.file);
  if (typeof image === "number") return image;
  if (typeof image === "string") {
    setExecReason(image);
    return -ENOEXEC;
  }
  let interpreter: Ref<"file"> | 0 = 0;
  if (image.interp !== null) {
    const opened = openInterpreter(bprm, image.interp);
    if (opened < 0) return opened;
    interpreter = opened as Ref<"file">;
  }
  const result = mapProgram(bprm, image, interpreter);
  if (interpreter !== 0) fput(interpreter);
  return result;
}

/** The path in PT_INTERP, or -errno. */
function interpreterName(file: Ref<"file">, at: { offset: number; size: number }): Uint8Array | number {
  const name = new Uint8Array(at.size);
  const got = kernelRead(file, name, at.offset);
  if (got !== at.size) return got === -ENOMEM ? got : -EIO;
  if (name[at.size - 1] !== 0) {
    setExecReason("an interpreter name without an end");
    return -ENOEXEC;
  }
  return name.subarray(0, name.indexOf(0));
}

/** The dynamic linker that a program asks for; null for what needs none. */
export function elfInterpreter(file: Ref<"file">): Uint8Array | null {
  const image = imageOf(file);
  if (typeof image !== "object" || image.interp === null) return null;
  const name = interpreterName(file, image.interp);
  return typeof name === "number" ? null : name;
}

function openInterpreter(bprm: Bprm, at: { offset: number; size: number }): Ref<"file"> | number {
  const path = interpreterName(bprm.file, at);
  if (typeof path === "number") return path;
  const opened = openExec(-100, path, 0);
  if (opened < 0) setExecReason(`the interpreter ${new TextDecoder().decode(path)} cannot be opened`);
  return opened;
}

function mapProgram(bprm: Bprm, image: ElfImage, interpreter: Ref<"file"> | 0): number {
  const { mm } = bprm;
  const bias = image.dynamic ? placement(image) - image.start : 0;
  let error = mapImage(mm, bprm.file, image, bias);
  if (error < 0) return error;
  const changes: CodeChange[] = [[CODE_EXEC, markOf(bprm.file), bias / PAGE_SIZE, 0, 0]];
  let base = 0;
  let entry = image.entry + bias;
  setRanges(mm, image, bias);
  if (interpreter !== 0) {
    const other = imageOf(interpreter);
    if (typeof other === "number") return other;
    if (typeof other === "string" || !other.dynamic) {
      setExecReason(`the interpreter is ${typeof other === "string" ? other : "not position independent"}`);
      return -ELIBBAD;
    }
    const page = chooseAddress(mm, Mm.vmas.access(mm), 0, (other.end - other.start) / PAGE_SIZE);
    if (page < 0) return page;
    base = page * PAGE_SIZE - other.start;
    error = mapImage(mm, interpreter, other, base);
    if (error < 0) return error;
    entry = other.entry + base;
    changes.push([CODE_EXEC, markOf(interpreter), page, 1, 0]);
  }
  error = mapPages(
    mm,
    VDSO_BASE,
    1,
    VM_READ | VM_EXEC | VM_SPECIAL,
    vdsoMapping(),
    0,
    0,
    MAP_FIXED_NOREPLACE,
  );
  if (error < 0) return error;
  const cred = credOf(bprm.task);
  const [uid, euid, gid, egid] = [
    Cred.uid.get(cred),
    Cred.euid.get(cred),
    Cred.gid.get(cred),
    Cred.egid.get(cred),
  ];
  const sp = setupStack(mm, {
    argv: bprm.argv,
    envp: bprm.envp,
    execfn: bprm.path,
    executable: image.executableStack,
    auxv: [
      [AT_PHDR, image.phdr === 0 ? 0 : image.phdr + bias],
      [AT_PHENT, PHDR_BYTES],
      [AT_PHNUM, image.phnum],
      [AT_PAGESZ, PAGE_SIZE],
      [AT_BASE, base],
      [AT_FLAGS, 0],
      [AT_ENTRY, image.entry + bias],
      [AT_UID, uid >>> 0],
      [AT_EUID, euid >>> 0],
      [AT_GID, gid >>> 0],
      [AT_EGID, egid >>> 0],
      [AT_HWCAP, HWCAP_RISCV],
      [AT_CLKTCK, CLOCKS_PER_SEC],
      [AT_SECURE, uid === euid && gid === egid ? 0 : 1],
      [AT_MINSIGSTKSZ, MINSIGSTKSZ],
    ],
  });
  if (sp < 0) return sp;
  execCodeSpace(mm, changes);
  bprm.entry = entry;
  bprm.sp = sp;
  return 0;
}

function placement(image: ElfImage): number {
  let align = PAGE_SIZE;
  for (const segment of image.segments)
    if (segment.align > align && segment.align <= PIE_BASE && Number.isInteger(Math.log2(segment.align)))
      align = segment.align;
  return Math.ceil(PIE_BASE / align) * align + (image.start % align);
}

function markOf(file: Ref<"file">): number {
  const mapping = fileBacking().mapping(file, 0, false);
  return mapping > 0 ? fileMark(mapping as Ref<"mapping">) : 0;
}

/** Code, data and heap ranges, for brk(2) and /proc. */
function setRanges(mm: Ref<"mm">, image: ElfImage, bias: number): void {
  let [startCode, endCode, startData, endData] = [Infinity, 0, 0, 0];
  for (const segment of image.segments) {
    const start = segment.vaddr + bias;
    if ((segment.flags & PF_X) !== 0) {
      startCode = Math.min(startCode, start);
      endCode = Math.max(endCode, start + segment.filesz);
    }
    if (start >= startData) startData = start;
    endData = Math.max(endData, start + segment.filesz);
  }
  Mm.startCode.set(mm, startCode === Infinity ? 0 : startCode);
  Mm.endCode.set(mm, endCode);
  Mm.startData.set(mm, startData);
  Mm.endData.set(mm, endData);
  Mm.brkStart.set(mm, image.end + bias);
  Mm.brk.set(mm, image.end + bias);
}

/** Maps all segments of an image at its place: 0 or -errno. */
function mapImage(mm: Ref<"mm">, file: Ref<"file">, image: ElfImage, bias: number): number {
  if (image.start + bias < PAGE_SIZE) {
    setExecReason("a program that wants to be at address 0");
    return -ENOEXEC;
  }
  for (const segment of image.segments) {
    const error = mapSegment(mm, file, segment, bias);
    if (error < 0) return error;
  }
  return 0;
}

function mapSegment(mm: Ref<"mm">, file: Ref<"file">, segment: Segment, bias: number): number {
  const start = segment.vaddr + bias;
  const flags =
    ((segment.flags & PF_R) !== 0 ? VM_READ : 0) |
    ((segment.flags & PF_W) !== 0 ? VM_WRITE : 0) |
    ((segment.flags & PF_X) !== 0 ? VM_EXEC : 0) |
    VM_MAYWRITE;
  const first = pageDown(start);
  const fileEnd = start + segment.filesz;
  const end = pageUp(start + segment.memsz);
  let at = first;
  if (segment.filesz !== 0) {
    const mapping = fileBacking().mapping(file, flags & 7, false);
    if (mapping <= 0) return mapping === 0 ? -EINVAL : mapping;
    at = pageUp(fileEnd);
    const pgoff = Math.floor(segment.offset / PAGE_SIZE);
    // Segments may share a page of memory: the later one has it, as on Linux.
    const error = mapPages(
      mm,
      first,
      (at - first) / PAGE_SIZE,
      flags,
      mapping as Ref<"mapping">,
      file,
      pgoff,
      MAP_FIXED,
    );
    if (error < 0) return error;
    // The rest of the last page belongs to the bss.
    if (
      segment.memsz > segment.filesz &&
      fileEnd < at &&
      (flags & VM_WRITE) !== 0 &&
      !mmClear(mm, fileEnd, at - fileEnd)
    )
      return -ENOMEM;
  }
  if (at >= end) return 0;
  return Math.min(0, mapPages(mm, at, (end - at) / PAGE_SIZE, flags, 0, 0, 0, MAP_FIXED));
}

registerBinfmt({ name: "elf", load: loadElf });
