/** Pipes, event descriptors, readiness, sockets, random bytes. */
import type { Syscall } from "../syscall.ts";
import * as event from "./event.ts";
import * as pipe from "./pipe.ts";
import * as poll from "./poll.ts";
import * as random from "./random.ts";
import * as socket from "./socket.ts";

export const calls: readonly Syscall[] = [
  pipe.pipe2,
  pipe.splice,
  pipe.tee,
  pipe.vmsplice,
  event.eventfd2,
  event.timerfdCreate,
  event.timerfdSettime,
  event.timerfdGettime,
  event.signalfd4,
  event.pidfdOpenCall,
  event.pidfdSendSignal,
  poll.ppoll,
  poll.pselect6,
  poll.epollCreate1,
  poll.epollCtlCall,
  poll.epollPwait,
  poll.epollPwait2,
  random.getrandom,
  ...socket.calls,
];
