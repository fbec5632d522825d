/**
 * Loaded ahead of everything in a process that runs tests, and in each of its threads (node --import): makes the change that the
 * environment names in the file that it names, or sets probes in all files. The tests get harness.ts for ava.
 */
import { registerHooks } from "node:module";
import { getEnvironmentData } from "node:worker_threads";
import type { Edit } from "./rules.ts";

const root = new URL("../../../", import.meta.url).href;
const given = process.env.STERNIX_MUTANT;
const { file, edits } = given === undefined ? { file: "", edits: [] } : (JSON.parse(given) as Job);
interface Job {
  readonly file: string;
  readonly edits: readonly Edit[];
}

const probing = process.env.STERNIX_PROBES === "1" ? await import("./probes.ts") : null;
if (probing !== null) {
  const hits = getEnvironmentData("sternix probes") as Int32Array | undefined;
  if (hits !== undefined) probing.hitInto(hits);
}

const harness = new URL("./harness.ts", import.meta.url).href;
registerHooks({
  resolve(specifier, context, next) {
    return specifier === "ava" && process.env.STERNIX_HARNESS === "1"
      ? { url: harness, format: "module-typescript", shortCircuit: true }
      : next(specifier, context);
  },
  load(address, context, next) {
    const loaded = next(address, context);
    if (!address.startsWith(root)) return loaded;
    const path = address.slice(root.length);
    if (probing !== null) {
      const probes = probing.probesOf(path);
      return probes === null
        ? loaded
        : { ...loaded, source: probing.withProbes(String(loaded.source), probes) };
    }
    if (path !== file) return loaded;
    let source = String(loaded.source);
    for (const edit of edits.toSorted((one, other) => other.start - one.start))
      source = source.slice(0, edit.start) + edit.text + source.slice(edit.end);
    return { ...loaded, source };
  },
});
