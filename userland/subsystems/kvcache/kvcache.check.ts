/** Scenarios of kvcache: `sternix check userland/subsystems/kvcache/kvcache.check.ts`. */
import { fakeFile, plug, scenario, type Thread } from "../../check/index.ts";
import kvcache from "./index.ts";

const plugged = plug(kvcache, { entries: 2 });
type Context = ReturnType<typeof plugged.open>;
interface Handles {
  readonly context: Context;
  /** Open files, one for each thread. */
  readonly files: readonly number[];
}

const setup = () => {
  const tables = plugged.setup();
  const context = plugged.open(tables);
  const files = [fakeFile().ref as number, fakeFile().ref as number];
  for (const command of ["set a 1", "set b 2"]) ask({ context, files }, 0, command);
  return { tables, files };
};
const open = ({ tables, files }: { tables: readonly number[]; files: readonly number[] }): Handles => ({
  context: plugged.open(tables),
  files,
});

/** Writes a command to the device, reads the answer, and closes the file. */
function ask({ context, files }: Handles, number: number, command: string): string {
  const device = kvcache.devices!.kvcache!;
  const file = fakeFile(files[number]);
  const taken = device.write!(context as never, file, Buffer.from(command));
  if (taken < 0) return `error ${taken}`;
  const answer = device.read!(context as never, file, 100);
  device.release!(context as never, file);
  return Buffer.from(answer as Uint8Array).toString();
}
const thread = (number: number, command: string) => (handles: Handles, _thread: Thread) =>
  ask(handles, number, command);

const among = (answer: unknown, ...allowed: readonly string[]): void => {
  if (!allowed.includes(answer as string)) throw new Error(`the answer was ${JSON.stringify(answer)}`);
};

/** A key that is set anew is found with the old value or the new one, whole. */
export const replaced = scenario({
  flavour: "cpu",
  setup,
  open,
  threads: { get: thread(0, "get b"), set: thread(1, "set b 22222") },
  check: (_handles, { get }) => among(get, "HIT 1\n2\n", "HIT 5\n22222\n"),
});

/** The oldest key goes when another comes: it is found whole, or not at all. */
export const evicted = scenario({
  flavour: "cpu",
  setup,
  open,
  threads: { get: thread(0, "get a"), set: thread(1, "set c 3") },
  check({ context }, { get }) {
    among(get, "HIT 1\n1\n", "MISS\n");
    if (context.tables.cache.size !== 2) throw new Error(`${context.tables.cache.size} keys of 2`);
    if (context.tables.hits.value + context.tables.misses.value !== 1)
      throw new Error("a get was not counted");
  },
});
