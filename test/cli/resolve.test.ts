import { mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
writeFileSync(at("script"), "#!/bin/sh\n");
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

const resolved = (program: string, root: string | null = null) => resolveProgram({ program, root }, () => {});

test("a riscv64 program of the host is found under its own name, through symlinks", async (t) => {
  t.deepEqual(await resolved(at("link")), {
    kind: "host",
    path: realpathSync(fixture("hello")),
    name: "link",
  });
  t.deepEqual(await resolved(at("script")), { kind: "host", path: at("script"), name: "script" });
});

test("a .ts file is a module, with a root too when the host has it", async (t) => {
  t.deepEqual(await resolved(at("prog.ts")), { kind: "module", path: at("prog.ts") });
  t.deepEqual(await resolved(at("prog.ts"), folder), { kind: "module", path: at("prog.ts") });
  t.deepEqual(await resolved("/opt/app.js", folder), { kind: "guest", path: "/opt/app.js" });
});

test("with a root, a program is a guest path", async (t) => {
  t.deepEqual(await resolved("busybox", folder), { kind: "guest", path: "busybox" });
  t.deepEqual(await resolved("/bin/sh", folder), { kind: "guest", path: "/bin/sh" });
});

for (const [name, status, message] of [
  ["none", 127, "there is no such program"],
  ["none.ts", 127, "there is no such program"],
  ["folder", 126, "is a folder"],
  ["folder.ts", 126, "is not a file"],
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
