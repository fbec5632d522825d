import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import { Failure } from "../../userland/cli/failure.ts";
import { resolveProgram } from "../../userland/cli/resolve.ts";
import { fixture } from "../guest/cases.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "sternix-resolve-")));
const at = (name: string) => join(folder, name);

/** A 64-byte ELF header, riscv64 unless changed. */
function elf(change: (header: Buffer) => void = () => {}): Buffer {
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x7f454c46);
  header[4] = 2;
  header[5] = 1;
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(243, 18);
  change(header);
  return header;
}

writeFileSync(at("text"), "just words");
writeFileSync(at("empty"), "");
writeFileSync(at("script"), "#!/bin/sh\n", { mode: 0o755 });
writeFileSync(at("prog.ts"), "");
writeFileSync(
  at("x86"),
  elf((header) => header.writeUInt16LE(62, 18)),
);
writeFileSync(
  at("rv32"),
  elf((header) => header.writeUInt8(1, 4)),
);
writeFileSync(
  at("big"),
  elf((header) => header.writeUInt8(2, 5)),
);
writeFileSync(
  at("object"),
  elf((header) => header.writeUInt16LE(1, 16)),
);
writeFileSync(at("cut"), elf().subarray(0, 20));
mkdirSync(at("folder"));
mkdirSync(at("folder.ts"));
symlinkSync(fixture("hello"), at("link"));

const resolved = (program: string, root?: string) => resolveProgram(program, root, () => {});

test("a riscv64 program of the host is named by its own path, which may be a symlink", async (t) => {
  t.deepEqual(await resolved(at("link")), pathToFileURL(at("link")));
  t.deepEqual(await resolved(at("script")), pathToFileURL(at("script")));
});

test("a .ts file is a module, with a root too when the host has it", async (t) => {
  t.deepEqual(await resolved(at("prog.ts")), pathToFileURL(at("prog.ts")));
  t.deepEqual(await resolved(at("prog.ts"), folder), pathToFileURL(at("prog.ts")));
  t.deepEqual(await resolved("/opt/app.js", folder), "/opt/app.js");
});

test("with a root, a program is a guest path", async (t) => {
  t.deepEqual(await resolved("busybox", folder), "busybox");
  t.deepEqual(await resolved("/bin/sh", folder), "/bin/sh");
});

for (const [name, status, message] of [
  ["none", 127, "there is no such program"],
  ["none.ts", 127, "there is no such program"],
  ["folder", 126, "is a folder"],
  ["folder.ts", 126, "is a folder"],
  ["text", 126, "is not a program"],
  ["empty", 126, "is not a program"],
  ["x86", 126, "is made for x86-64; Sternix runs riscv64"],
  ["rv32", 126, "32-bit"],
  ["big", 126, "big-endian"],
  ["object", 126, "not an executable"],
  ["cut", 126, "truncated"],
] as const) {
  test(`${name}: refused with status ${status}`, async (t) => {
    const error = await t.throwsAsync(resolved(at(name)), { instanceOf: Failure });
    t.is(error!.status, status);
    t.true(error!.message.includes(message), error!.message);
    t.true(error!.message.includes(name));
    t.false(error!.message.includes("\n"));
  });
}
