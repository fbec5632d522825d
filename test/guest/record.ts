/** Records expected.json from qemu-riscv64-static: node test/guest/record.ts (after build.sh). */
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { cases, expectedOutcomes, fixture, type GuestCase, labelOf, type Outcome } from "./cases.ts";

function underQemu(guest: GuestCase): Outcome {
  const [name, ...args] = guest.argv;
  const run = spawnSync("qemu-riscv64-static", [fixture(name!), ...args], {
    env: { ...guest.env },
    input: guest.stdin ?? "",
    encoding: "latin1",
    timeout: 20_000,
  });
  const status = run.status ?? 128 + constants.signals[run.signal!];
  // qemu says on standard error that the guest was killed; a kernel does not.
  const stderr = run.stderr.replace(/^qemu: uncaught target signal.*\n/gm, "");
  return { status, stdout: run.stdout, stderr };
}

const target = new URL("expected.json", import.meta.url);
const before = existsSync(target) ? expectedOutcomes() : {};
const outcomes: Record<string, Outcome> = {};
for (const guest of cases) {
  const label = labelOf(guest);
  const outcome = guest.byHand ? before[label] : underQemu(guest);
  if (!outcome) throw new Error(`${label} has no answer written by hand yet`);
  outcomes[label] = outcome;
}
writeFileSync(target, `${JSON.stringify(outcomes, null, 2)}\n`);
