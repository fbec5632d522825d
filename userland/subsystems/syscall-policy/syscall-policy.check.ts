/** Scenarios of syscall-policy: `sternix check userland/subsystems/syscall-policy/syscall-policy.check.ts`. */
import { fakeCall, fakeTask, plug, scenario } from "../../check/index.ts";
import policy from "./index.ts";

const plugged = plug(policy, { rules: "deny:EROFS * /srv" });
type Context = ReturnType<typeof plugged.open>;

const task = fakeTask({ uid: 1000 });
const judge = (context: Context, path: string): number =>
  policy.hooks!.syscallEnter!(context as never, task, fakeCall({ name: "openat", paths: [path] })) ?? 0;

/** Rules are replaced whole while a call is judged: it goes by the old ones or by the new ones. */
export const replaced = scenario({
  flavour: "cpu",
  setup: plugged.setup,
  open: plugged.open,
  threads: {
    call: (context) => [judge(context, "/srv"), judge(context, "/etc")],
    root: (context) => policy.proc!.write!(context as never, "deny:ENOENT * /etc\n", 0),
  },
  check(context, { call: [srv, etc], root }) {
    if (root !== 0) throw new Error(`the rules were refused: ${root}`);
    const old = srv === -30 && etc === 0;
    // Between the two calls the rules may change.
    const between = srv === -30 && etc === -2;
    const fresh = srv === 0 && etc === -2;
    if (!old && !between && !fresh) throw new Error(`/srv: ${srv}, /etc: ${etc}`);
    if (judge(context, "/etc") !== -2) throw new Error("the new rules do not hold");
  },
});
