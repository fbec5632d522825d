/**
 * Compares fpOp with riscv64 on many operands: node test/riscv64/fpu-compare.ts [CASES=200000] [SEED=1]
 * Needs qemu-riscv64-static and riscv64-linux-gnu-gcc. Prints the first mismatches and their number.
 */

import { exactOp, fpOp, takeFpFlags } from "../../userland/riscv64/fpu/softfloat.ts";
import { OP_COUNT, OP_NAMES, operands, Random } from "./fpu-operands.ts";
import { askOracle, buildOracle, type FpCase } from "./fpu-oracle.ts";

const total = Number(process.argv[2] ?? 200_000);
const random = new Random(Number(process.argv[3] ?? 1));
const oracle = buildOracle();
if (oracle === "") {
  console.error("fpu-compare: needs qemu-riscv64-static and riscv64-linux-gnu-gcc");
  process.exit(1);
}

let mismatches = 0;
let done = 0;
const hex = (x: bigint): string => BigInt.asUintN(64, x).toString(16).padStart(16, "0");

for (; done < total; ) {
  const cases: FpCase[] = Array.from({ length: Math.min(50_000, total - done) }, () => {
    const op = random.below(OP_COUNT);
    const [a, b, c] = operands(random, op);
    return { op, rm: random.below(5), a, b, c };
  });
  const answers = askOracle(oracle, cases);
  cases.forEach(({ op, rm, a, b, c }, i) => {
    const { result, flags } = answers[i]!;
    const ours = fpOp(op, a, b, c, rm);
    const ourFlags = takeFpFlags();
    const exact = exactOp(op, a, b, c, rm);
    const exactFlags = takeFpFlags();
    if (ours === result && ourFlags === flags && exact === result && exactFlags === flags) return;
    if (mismatches++ >= 30) return;
    console.log(`${OP_NAMES[op]} rm=${rm} ${hex(a)} ${hex(b)} ${hex(c)}: riscv64 ${hex(result)}/${flags}`);
    console.log(`   fpOp ${hex(ours)}/${ourFlags}  exactOp ${hex(exact)}/${exactFlags}`);
  });
  done += cases.length;
}
console.log(`cases=${done} mismatches=${mismatches}`);
process.exit(mismatches === 0 ? 0 : 1);
