import test from "ava";
import fc from "fast-check";
import { FAULT_ACCERR, FAULT_MAPERR, resolvePage } from "../../../kernel/mm/fault.ts";
import { mmFork } from "../../../kernel/mm/fork.ts";
import { frameTotal } from "../../../kernel/mm/frame.ts";
import { madvise } from "../../../kernel/mm/madvise.ts";
import { Mapping } from "../../../kernel/mm/mapping.ts";
import { Mm, mmCreate, mmPut } from "../../../kernel/mm/mm.ts";
import { mmap, munmap } from "../../../kernel/mm/mmap.ts";
import { mprotect } from "../../../kernel/mm/mprotect.ts";
import { mremap } from "../../../kernel/mm/mremap.ts";
import { PageNode } from "../../../kernel/mm/pagetree.ts";
import { PageTable } from "../../../kernel/mm/pte.ts";
import { PAGE_SIZE, ram } from "../../../kernel/mm/ram.ts";
import { forEachVma, mayMerge, Vma, type VmaSpec, vmaSpec } from "../../../kernel/mm/vma.ts";
import { ENOMEM } from "../../../kernel/uapi/errno.ts";
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
} from "../../../kernel/uapi/mman.ts";
import { ACCESS } from "../../../kernel/usermode.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { bootMemory, settledFrames } from "./machine.ts";

const PAGES = 40;
const BASE = 0x4000_0000;
const at = (page: number): number => BASE + page * PAGE_SIZE;

/** What a page of the model shows: memory of its own, or a page of a shared object. */
interface Page {
  prot: number;
  cell: { value: number };
  shared: boolean;
  /** The object and index that a shared page shows; areas merge when they continue each other. */
  object: Map<number, { value: number }> | null;
  index: number;
}
type Space = Map<number, Page>;

const cellOf = (object: Map<number, { value: number }>, index: number): { value: number } => {
  let cell = object.get(index);
  if (cell === undefined) object.set(index, (cell = { value: 0 }));
  return cell;
};

type Op =
  | { op: "mmap"; page: number; count: number; prot: number; shared: boolean }
  | { op: "munmap" | "dontneed"; page: number; count: number }
  | { op: "mprotect"; page: number; count: number; prot: number }
  | { op: "write"; page: number; value: number }
  | { op: "read"; page: number }
  | { op: "move"; page: number; count: number; to: number; newCount: number }
  | { op: "fork" | "exit" | "switch"; which: number };

const page = fc.nat(PAGES - 1);
const count = fc.integer({ min: 1, max: 9 });
const prot = fc.constantFrom(0, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE);
const operation: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("mmap" as const), page, count, prot, shared: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom("munmap" as const, "dontneed" as const), page, count }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("mprotect" as const), page, count, prot }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("write" as const), page, value: fc.integer() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("read" as const), page }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("move" as const), page, count, to: page, newCount: count }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constantFrom("fork" as const, "exit" as const, "switch" as const),
      which: fc.nat(3),
    }),
  },
);

interface Process {
  mm: Ref<"mm">;
  space: Space;
}

function forkSpace(space: Space): Space {
  const copy: Space = new Map();
  for (const [n, p] of space) copy.set(n, { ...p, cell: p.shared ? p.cell : { ...p.cell } });
  return copy;
}

function mapped(space: Space, from: number, n: number): boolean {
  for (let p = from; p < from + n; p++) if (!space.has(p)) return false;
  return true;
}

/** Whether pages from..from+n lie in one area: equal protection and backing, as neighbours merge. */
function oneArea(space: Space, from: number, n: number): boolean {
  if (!mapped(space, from, n)) return false;
  const first = space.get(from)!;
  for (let p = from; p < from + n; p++) {
    const other = space.get(p)!;
    if (other.prot !== first.prot || other.shared !== first.shared) return false;
    if (first.shared && (other.object !== first.object || other.index !== first.index + (p - from)))
      return false;
  }
  return true;
}

function apply(step: Op, processes: Process[], active: number): string | null {
  const { mm, space } = processes[active]!;
  switch (step.op) {
    case "mmap": {
      const n = Math.min(step.count, PAGES - step.page);
      const flags = MAP_FIXED | MAP_ANONYMOUS | (step.shared ? MAP_SHARED : MAP_PRIVATE);
      const got = mmap(mm, at(step.page), n * PAGE_SIZE, step.prot, flags, 0, 0);
      if (got !== at(step.page)) return `mmap gave ${got}`;
      const object = step.shared ? new Map<number, { value: number }>() : null;
      for (let k = 0; k < n; k++)
        space.set(step.page + k, {
          prot: step.prot,
          cell: object === null ? { value: 0 } : cellOf(object, k),
          shared: step.shared,
          object,
          index: k,
        });
      return null;
    }
    case "munmap": {
      const got = munmap(mm, at(step.page), step.count * PAGE_SIZE);
      for (let k = 0; k < step.count; k++) space.delete(step.page + k);
      return got === 0 ? null : `munmap gave ${got}`;
    }
    case "dontneed": {
      const got = madvise(mm, at(step.page), step.count * PAGE_SIZE, MADV_DONTNEED);
      for (let k = 0; k < step.count; k++) {
        const p = space.get(step.page + k);
        if (p !== undefined && !p.shared) p.cell = { value: 0 };
      }
      const want = mapped(space, step.page, step.count) ? 0 : -ENOMEM;
      return got === want ? null : `madvise gave ${got}, not ${want}`;
    }
    case "mprotect": {
      const got = mprotect(mm, at(step.page), step.count * PAGE_SIZE, step.prot);
      let want = 0;
      for (let k = 0; k < step.count; k++) {
        const p = space.get(step.page + k);
        if (p === undefined) {
          want = -ENOMEM;
          break;
        }
        p.prot = step.prot;
      }
      return got === want ? null : `mprotect gave ${got}, not ${want}`;
    }
    case "write": {
      const got = resolvePage(mm, at(step.page), ACCESS.WRITE);
      const p = space.get(step.page);
      const want = p === undefined ? FAULT_MAPERR : (p.prot & PROT_WRITE) === 0 ? FAULT_ACCERR : 0;
      if (want !== 0) return got === want ? null : `write gave ${got}, not ${want}`;
      if (got < 0 || (got & 1) === 0) return `write refused: ${got}`;
      ram.i32[(got & ~4095) >>> 2] = step.value;
      p!.cell.value = step.value;
      return null;
    }
    case "read": {
      const got = resolvePage(mm, at(step.page), ACCESS.READ);
      const p = space.get(step.page);
      const want = p === undefined ? FAULT_MAPERR : p.prot === 0 ? FAULT_ACCERR : 0;
      if (want !== 0) return got === want ? null : `read gave ${got}, not ${want}`;
      if (got < 0) return `read refused: ${got}`;
      const value = ram.i32[(got & ~4095) >>> 2]!;
      return value === p!.cell.value ? null : `page ${step.page} reads ${value}, not ${p!.cell.value}`;
    }
    case "move":
      return applyMove(step, mm, space);
    default:
      return null;
  }
}

function applyMove(step: Op & { op: "move" }, mm: Ref<"mm">, space: Space): string | null {
  const n = Math.min(step.count, PAGES - step.page);
  const m = Math.min(step.newCount, PAGES - step.to);
  if (step.to < step.page + n && step.page < step.to + m) return null;
  const got = mremap(
    mm,
    at(step.page),
    n * PAGE_SIZE,
    m * PAGE_SIZE,
    MREMAP_MAYMOVE | MREMAP_FIXED,
    at(step.to),
  );
  if (!oneArea(space, step.page, n)) return got < 0 ? null : "mremap moved what is not one area";
  if (got !== at(step.to)) return `mremap gave ${got}`;
  const pages = Array.from({ length: n }, (_, k) => space.get(step.page + k)!);
  for (let k = 0; k < m; k++) space.delete(step.to + k);
  for (let k = 0; k < n; k++) space.delete(step.page + k);
  for (let k = 0; k < m; k++) {
    const old = pages[k];
    const first = pages[0]!;
    const index = first.index + k;
    const object = first.object;
    const cell = old?.cell ?? (object === null ? { value: 0 } : cellOf(object, index));
    space.set(step.to + k, { prot: first.prot, shared: first.shared, object, index, cell });
  }
  return null;
}

/** Areas are sorted, apart, and as few as possible. */
function checkAreas(mm: Ref<"mm">, space: Space): string | null {
  let last: VmaSpec | null = null;
  let problem: string | null = null;
  let total = 0;
  forEachVma(mm, (vma) => {
    const spec = vmaSpec(vma);
    if (spec.start >= spec.end) problem = "an empty area";
    if (last !== null && last.end > spec.start) problem = "areas overlap";
    if (last !== null && mayMerge(last, spec)) problem = `areas at ${spec.start} should be one`;
    for (let p = spec.start; p < spec.end; p++)
      if (!space.has(p - BASE / PAGE_SIZE)) problem = `page ${p - BASE / PAGE_SIZE} is mapped`;
    total += spec.end - spec.start;
    last = spec;
  });
  if (problem === null && total !== space.size) problem = `${total} pages mapped, not ${space.size}`;
  if (problem === null && Mm.totalVm.racy(mm) !== space.size) problem = "VmSize is wrong";
  return problem;
}

function run(steps: readonly Op[]): string | null {
  const processes: Process[] = [{ mm: mmCreate() as Ref<"mm">, space: new Map() }];
  let active = 0;
  let problem: string | null = null;
  for (const step of steps) {
    if (step.op === "fork" && processes.length < 4) {
      const child = mmFork(processes[active]!.mm);
      processes.push({ mm: child as Ref<"mm">, space: forkSpace(processes[active]!.space) });
    } else if (step.op === "exit" && processes.length > 1) {
      mmPut(processes.splice(active, 1)[0]!.mm);
      active = 0;
    } else if (step.op === "switch") active = step.which % processes.length;
    else problem = apply(step, processes, active);
    problem ??= checkAreas(processes[active]!.mm, processes[active]!.space);
    if (problem !== null) break;
  }
  for (let n = 0; problem === null && n < processes.length; n++)
    for (let p = 0; p < PAGES; p++) problem ??= apply({ op: "read", page: p }, processes, n);
  for (const { mm } of processes) mmPut(mm);
  return problem;
}

const tables = [Mm, Vma, PageTable, Mapping, PageNode] as const;
const live = (): number[] => tables.map((type) => liveObjects(type));

test.serial(
  "mmap, munmap, mprotect, mremap, madvise, fork and accesses agree with a model, and leak nothing",
  (t) => {
    bootMemory();
    const frames = settledFrames();
    const before = live();
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 80, size: "max" }), (steps) => {
        const problem = run(steps);
        if (problem !== null) throw new Error(problem);
        return true;
      }),
      { numRuns: 400 },
    );
    t.is(settledFrames(), frames);
    t.deepEqual(live(), before);
    t.true(frames < frameTotal());
  },
);
