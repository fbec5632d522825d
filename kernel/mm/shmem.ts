/** Mappings without a file: shared anonymous memory, and the kernel's own page with the signal return code. */
import type { Ref } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { createCodeSpaces } from "./codespace.ts";
import { createMappingList, MOPS, mappingCreate, registerMappingOps } from "./mapping.ts";
import { mappingPage } from "./pagecache.ts";
import { ram } from "./ram.ts";

registerMappingOps(MOPS.SHMEM, { size: () => Infinity });
registerMappingOps(MOPS.SPECIAL, { size: () => 4096 });

const vdso = kernelGlobal<Ref<"mapping">>("vdso");

/** li a7, __NR_rt_sigreturn (139); ecall. */
const SIGRETURN_CODE = [0x08b0_0893, 0x0000_0073];

/** Once per machine, by the booting thread, after createRam. Throws when memory is short. */
export function mmInit(): void {
  createMappingList();
  createCodeSpaces();
  const mapping = mappingCreate(MOPS.SPECIAL);
  const frame = mapping === 0 ? -1 : mappingPage(mapping, 0, true);
  if (frame < 0) throw new Error("no memory for the vdso page");
  SIGRETURN_CODE.forEach((word, n) => {
    ram.i32[(frame >>> 2) + n] = word;
  });
  vdso.init(mapping as Ref<"mapping">);
}

/** The mapping of the page at VDSO_BASE: rt_sigreturn at its start. */
export const vdsoMapping = (): Ref<"mapping"> => vdso.get();
