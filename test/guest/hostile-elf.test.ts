import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import { Machine, SpawnError } from "../../userland/index.ts";
import { fixture } from "./cases.ts";
import { run } from "./run.ts";

const good = readFileSync(fixture("hello"));
const folder = mkdtempSync(join(tmpdir(), "sternix-hostile-"));
const SIGSEGV = 139;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

// Offsets of the ELF header and of the first program header (64-bit).
const PHOFF = 32;
const PHENTSIZE = 54;
const PHNUM = 56;
const ENTRY = 24;
const FIRST = 64;
const TYPE = FIRST;
const OFFSET = FIRST + 8;
const VADDR = FIRST + 16;
const FILESZ = FIRST + 32;
const MEMSZ = FIRST + 40;
const ALIGN = FIRST + 48;

const changed = (change: (elf: Buffer) => void) => {
  const elf = Buffer.from(good);
  change(elf);
  return elf;
};
const u64 = (at: number, value: bigint) => changed((elf) => elf.writeBigUInt64LE(value, at));

/** File contents, and how a shell would see the attempt to run it. */
const hostile: Record<string, { elf: Buffer; statuses: number[] }> = {
  "an empty file": { elf: Buffer.alloc(0), statuses: [NOT_EXECUTABLE] },
  "half a header": { elf: good.subarray(0, 40), statuses: [NOT_EXECUTABLE] },
  "a header without the program headers": { elf: good.subarray(0, 64), statuses: [NOT_EXECUTABLE] },
  "a file that ends in the first segment": {
    elf: good.subarray(0, 300),
    statuses: [NOT_EXECUTABLE, SIGSEGV, 135],
  },
  "program headers beyond the end": { elf: u64(PHOFF, 1n << 40n), statuses: [NOT_EXECUTABLE] },
  "program headers at an offset that wraps": {
    elf: u64(PHOFF, (1n << 64n) - 8n),
    statuses: [NOT_EXECUTABLE],
  },
  "65535 program headers": {
    elf: changed((elf) => elf.writeUInt16LE(0xffff, PHNUM)),
    statuses: [NOT_EXECUTABLE],
  },
  "no program headers": {
    elf: changed((elf) => elf.writeUInt16LE(0, PHNUM)),
    statuses: [NOT_EXECUTABLE, SIGSEGV],
  },
  "program headers of a wrong size": {
    elf: changed((elf) => elf.writeUInt16LE(8, PHENTSIZE)),
    statuses: [NOT_EXECUTABLE],
  },
  "a segment larger than any memory": { elf: u64(MEMSZ, 1n << 62n), statuses: [NOT_EXECUTABLE, SIGSEGV] },
  "a segment with more file than memory": {
    elf: u64(FILESZ, 1n << 30n),
    statuses: [NOT_EXECUTABLE, SIGSEGV],
  },
  "a segment in the kernel's half": {
    elf: u64(VADDR, 0xffff_ffff_8000_0000n),
    statuses: [NOT_EXECUTABLE, SIGSEGV],
  },
  "a segment just below 4 GiB that wraps": {
    elf: u64(VADDR, 0xffff_f000n),
    statuses: [NOT_EXECUTABLE, SIGSEGV],
  },
  "a segment whose offset and address disagree": {
    elf: u64(OFFSET, 1n),
    statuses: [NOT_EXECUTABLE, SIGSEGV],
  },
  "a segment with an alignment that is no power of two": {
    elf: u64(ALIGN, 3n),
    statuses: [NOT_EXECUTABLE, SIGSEGV, 0],
  },
  "an entry point in nowhere": { elf: u64(ENTRY, 0x7000_0000n), statuses: [SIGSEGV] },
  "an entry point that is odd": { elf: u64(ENTRY, 0x10001n), statuses: [SIGSEGV, 135, 132, NOT_EXECUTABLE] },
  "an interpreter that is not there": { elf: withInterpreter("/lib/ld-missing.so\0"), statuses: [NOT_FOUND] },
  "an interpreter without an end": { elf: withInterpreter("/lib/ld"), statuses: [NOT_EXECUTABLE] },
  "an interpreter that is a folder": { elf: withInterpreter("/tmp\0"), statuses: [NOT_EXECUTABLE] },
  "another machine": { elf: changed((elf) => elf.writeUInt16LE(62, 18)), statuses: [NOT_EXECUTABLE] },
  "a core file": { elf: changed((elf) => elf.writeUInt16LE(4, 16)), statuses: [NOT_EXECUTABLE] },
};

/** Turns the last program header (PT_GNU_STACK) into a PT_INTERP whose text is appended to the file. */
function withInterpreter(text: string): Buffer {
  const elf = Buffer.concat([good, Buffer.from(text)]);
  const at = FIRST + 56 * (elf.readUInt16LE(PHNUM) - 1);
  elf.writeUInt32LE(3, at);
  elf.writeBigUInt64LE(BigInt(good.length), at + 8);
  elf.writeBigUInt64LE(BigInt(text.length), at + 32);
  elf.writeBigUInt64LE(BigInt(text.length), at + 40);
  return elf;
}

let machine: Machine;
const log: string[] = [];
test.before("boot", async () => {
  machine = await Machine.boot({
    cpus: 2,
    mounts: [{ host: folder, guest: "/hostile" }],
    log: (line) => log.push(line),
  });
});
test.after.always("shut down", () => machine?.shutdown());

test("the fixture that the hostile files are made from has the layout they assume", (t) => {
  t.is(good.readUInt32LE(TYPE), 1);
  t.is(good.readBigUInt64LE(PHOFF), 64n);
});

let number = 0;
for (const [what, { elf, statuses }] of Object.entries(hostile)) {
  test.serial(`${what}: the program fails alone, the machine goes on`, async (t) => {
    const name = `hostile-${++number}`;
    writeFileSync(join(folder, name), elf, { mode: 0o755 });
    // A guest path: the host's own look at a program would refuse most of them.
    const result = await run(machine, `/hostile/${name}`).catch((error: unknown) => {
      if (error instanceof SpawnError) return { status: error.code === "ENOENT" ? 127 : 126 };
      throw error;
    });
    t.true(statuses.includes(result.status), `status ${result.status}`);
    t.is((await run(machine, pathToFileURL(fixture("hello")))).stdout, "hello from riscv64\n");
    t.deepEqual(log, []);
  });
}
