/** A short torture on mutated code: the change is made by hook.ts, in every thread. Status 1 when it found something. */
import { parseArgs } from "node:util";
import { FLAVOURS, type Flavour } from "../../../rcu/torture/state.ts";
import { torture } from "../../../rcu/torture/torture.ts";

const { values } = parseArgs({ options: { flavour: { type: "string" }, seconds: { type: "string" } } });
process.on("disconnect", () => process.exit());
const flavour = FLAVOURS.find((one) => one === values.flavour) as Flavour;
try {
  const report = await torture({ flavour, seconds: Number(values.seconds) });
  process.send?.({ failures: report.failures.slice(0, 3) });
} catch (error) {
  process.send?.({ failures: [String(error)] });
}
process.exit();
