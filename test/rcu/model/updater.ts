/** Replaces what readers look at and takes a cookie: the lines are those of rcu/torture/updater.ts, whose mutant applies here too. */
import { type GpCookie, type Ref, startPollSynchronizeRcu } from "../../../rcu/index.ts";
import { Root } from "./structs.ts";

/** Torture waits between the two mistaken lines, one way or another; the model needs no luck. */
const Control = { current: Root.current, stop: { wait(..._arguments: unknown[]): void {} } };
export const spin = (_loops: number): void => Control.stop.wait();

export const updater = {
  replaceAndPoll(control: Ref<"model_root">, fresh: Ref<"model_thing">): [Ref<"model_thing">, GpCookie] {
    const old = Control.current.exchange(control, fresh);
    const cookie = startPollSynchronizeRcu();
    return [old as Ref<"model_thing">, cookie];
  },
};
