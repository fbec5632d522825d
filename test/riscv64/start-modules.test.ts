import test from "ava";
import { EXIT } from "../../kernel/usermode.ts";
import { PREBUILT } from "../../userland/riscv64/prebuilt.ts";
import { prebuild, THRESHOLD } from "../../userland/riscv64/start-modules.ts";
import { CODE, EBREAK, machine } from "./directed.ts";

// In a file of its own: what is prebuilt is looked for once in a thread.
test("an engine finds all the modules that it starts with among the prebuilt ones", (t) => {
  const found: string[] = [];
  const missed: string[] = [];
  for (const [name, bytes] of Object.entries(prebuild())) {
    Object.defineProperty(PREBUILT, name, {
      get() {
        found.push(name);
        return Buffer.from(bytes).toString("base64");
      },
    });
  }
  Object.setPrototypeOf(PREBUILT, new Proxy({}, { get: (_, name) => void missed.push(String(name)) }));
  const h = machine(THRESHOLD, [EBREAK]);
  t.deepEqual(missed, []);
  t.deepEqual(found.map((name) => name.replace(/^(interpreter \d+)( fused)?$/, "$1")).sort(), [
    "fast fpu",
    "fused trial",
    `interpreter ${THRESHOLD}`,
    "runtime",
  ]);
  t.is(h.run(), EXIT.BREAKPOINT);
  t.is(h.pc, CODE);
});
