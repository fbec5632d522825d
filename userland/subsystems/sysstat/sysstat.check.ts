/** Scenarios of sysstat: `sternix check userland/subsystems/sysstat/sysstat.check.ts`. */
import { fakeCall, fakeTask, plug, scenario } from "../../check/index.ts";
import sysstat from "./index.ts";

const plugged = plug(sysstat);
type Context = ReturnType<typeof plugged.open>;

const call = fakeCall({ nr: 63, name: "read" });
function makes(context: Context, tid: number): void {
  const task = fakeTask({ tid, pid: tid, comm: "cat" });
  sysstat.hooks!.syscallEnter!(context as never, task, call);
  sysstat.hooks!.syscallExit!(context as never, task, call, 0);
}
const text = (context: Context): string => String(sysstat.proc!.read!(context as never));

/** Two CPUs make a task's first call at the same time: each is counted, in one entry of that call. */
export const firstCalls = scenario({
  flavour: "cpu",
  memory: ["sc", "weak"],
  setup: plugged.setup,
  open: plugged.open,
  threads: { one: (context) => makes(context, 1), other: (context) => makes(context, 2) },
  check(context) {
    const line = text(context)
      .split("\n")
      .find((one) => one.startsWith("syscall_63"));
    if (line === undefined || !/^syscall_63 +2 /.test(line))
      throw new Error(`two calls were made: ${text(context)}`);
  },
});

/** A task ends while another CPU reads the file: its histogram is there, or with its program, whole. */
export const taskEnds = scenario({
  flavour: "cpu",
  // Reading walks all buckets of three maps: on the memory that allows most, and on no other.
  memory: ["weak"],
  setup() {
    const tables = plugged.setup();
    makes(plugged.open(tables), 1);
    return tables;
  },
  open: plugged.open,
  threads: {
    reader: (context) => text(context).length > 0,
    ends: (context) => sysstat.hooks!.taskExit!(context as never, fakeTask({ tid: 1, pid: 1, comm: "cat" })),
  },
});
