import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import test from "ava";

/** Ends a hang. */
const PATIENCE_MS = 120_000;

test("a process with a machine ends when its parent is killed", async (t) => {
  t.timeout(2 * PATIENCE_MS);
  const parent = spawn(process.execPath, [fileURLToPath(new URL("orphan-parent.ts", import.meta.url))], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  parent.stderr.on("data", (bytes) => (said += bytes));
  const signal = AbortSignal.timeout(PATIENCE_MS);
  while (!said.includes("started\n")) await once(parent.stderr, "data", { signal });
  // Both have it open: it ends when both are gone.
  const ended = once(parent.stdout, "end", { signal });
  parent.stdout.resume();
  parent.kill("SIGKILL");
  await ended;
  t.pass();
});
