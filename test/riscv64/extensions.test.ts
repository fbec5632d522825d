/** What programs are told of the instruction set, and what the engine executes, are the same. */
import test from "ava";
import { HWCAP_RISCV, HWPROBE_IMA_EXT_0, ISA_STRING } from "../../kernel/uapi/riscv.ts";
import { disassemble } from "../../userland/riscv64/isa/disassemble.ts";
import { boot, call, getBytes, putBytes } from "../kernel/ipc/machine.ts";

/** Words as binutils assembles them for the registers a0, a1, a2, by extension: all the instructions of those that are here. */
const ZBA = {
  "add.uw a0,a1,a2": 0x08c5853b,
  "sh1add a0,a1,a2": 0x20c5a533,
  "sh2add a0,a1,a2": 0x20c5c533,
  "sh3add a0,a1,a2": 0x20c5e533,
  "sh1add.uw a0,a1,a2": 0x20c5a53b,
  "sh2add.uw a0,a1,a2": 0x20c5c53b,
  "sh3add.uw a0,a1,a2": 0x20c5e53b,
  "slli.uw a0,a1,37": 0x0a55951b,
};
/** One instruction of each extension that might come next, and the extension's bit in riscv_hwprobe. */
const ABSENT: readonly [extension: string, bit: number, word: number][] = [
  ["zbb", 4, 0x40c5f533], // andn
  ["zbs", 5, 0x28c59533], // bset
  ["zbc", 7, 0x0ac59533], // clmul
  ["v", 2, 0x0d007057], // vsetvli
];

test("Zba is complete, so programs are told of it", (t) => {
  for (const [text, word] of Object.entries(ZBA)) t.is(disassemble(word).replaceAll(", ", ","), text);
  t.true(ISA_STRING.split("_").includes("zba"));
  t.is((HWPROBE_IMA_EXT_0 >> 3) & 1, 1);
});

test("an extension that is not there is not told of", (t) => {
  for (const [extension, bit, word] of ABSENT) {
    t.regex(disassemble(word), /^\.word/, extension);
    t.is((HWPROBE_IMA_EXT_0 >> bit) & 1, 0, extension);
    t.false(ISA_STRING.split("_").includes(extension), extension);
  }
  t.is(HWCAP_RISCV & (1 << ("v".charCodeAt(0) - 97)), 0);
});

test("single letters are the same in the ISA string and in AT_HWCAP", (t) => {
  const letters = ISA_STRING.slice("rv64".length).split("_")[0]!;
  let bits = 0;
  for (const letter of letters) bits |= 1 << (letter.charCodeAt(0) - 97);
  t.is(bits, HWCAP_RISCV);
});

test("riscv_hwprobe answers with the extensions, and refuses keys that it does not know", (t) => {
  const { task, memory } = boot();
  const pairs = new BigInt64Array([4n, 0n, 99n, 7n]);
  putBytes(memory, new Uint8Array(pairs.buffer));
  t.is(call(task, "riscv_hwprobe", memory, 2, 0, 0, 0), 0);
  const answers = new BigInt64Array(getBytes(memory, 32).slice().buffer);
  t.deepEqual([...answers], [4n, BigInt(HWPROBE_IMA_EXT_0), -1n, 0n]);
});
