/** The end of a session leader: its terminal is free again (credentials(7), tty_ioctl(4)). */
import type { Ref } from "../../rcu/index.ts";
import { Tty } from "../drivers/tty.ts";
import { forEachGroup, sendPgrpSignal } from "../signal/send.ts";
import { SIGCONT, SIGHUP } from "../uapi/signal.ts";
import { lockTaskList, unlockTaskList } from "./pid.ts";
import { Group } from "./task.ts";

/** The last thread of the group exits. If it leads a session, the foreground processes get SIGHUP. */
export function exitSession(group: Ref<"group">): void {
  const tty = Group.tty.load(group) as Ref<"tty"> | 0;
  const session = Group.session.load(group);
  if (tty === 0 || session !== Group.tgid.get(group)) return;
  if (Tty.session.load(tty) === session) {
    const foreground = Tty.pgrp.load(tty);
    if (foreground !== 0) {
      sendPgrpSignal(foreground, SIGHUP);
      sendPgrpSignal(foreground, SIGCONT);
    }
    Tty.session.store(tty, 0);
    Tty.pgrp.store(tty, 0);
  }
  lockTaskList();
  forEachGroup((other) => {
    if (Group.session.load(other) === session) Group.tty.store(other, 0);
  });
  unlockTaskList();
}
