/** The end of a session leader: its terminal hangs up (credentials(7), "Sessions and process groups"). */
import type { Ref } from "../../rcu/index.ts";
import { forEachGroup } from "../signal/send.ts";
import { lockTaskList, unlockTaskList } from "./pid.ts";
import { Group } from "./task.ts";

type Disassociate = (tty: number) => void;
let disassociate: Disassociate | null = null;

/** The terminal driver says what happens to a controlling terminal whose session leader exits. */
export function onSessionLeaderExit(hook: Disassociate): void {
  disassociate = hook;
}

/** The last thread of the group exits. */
export function exitSession(group: Ref<"group">): void {
  const tty = Group.tty.load(group);
  if (tty === 0 || Group.session.load(group) !== Group.tgid.get(group)) return;
  disassociate?.(tty);
  lockTaskList();
  forEachGroup((other) => {
    if (Group.session.load(other) === Group.session.load(group)) Group.tty.store(other, 0);
  });
  unlockTaskList();
}
