/** Loads every kind of file that IPC has (each worker imports it once), and sets their tables up. */

import { beforeFileRelease, File } from "../fs/file.ts";
import { epollInit, eventpollLeave } from "./eventpoll.ts";
import { inetInit } from "./inet-name.ts";
import { inflightInit } from "./inflight.ts";
import { netlinkInit } from "./netlink.ts";
import { unixInit } from "./unix-name.ts";
import "./epoll.ts";
import "./eventfd.ts";
import "./fifo.ts";
import "./pidfd.ts";
import "./pipe.ts";
import "./signalfd.ts";
import "./socket-file.ts";
import "./timerfd.ts";
import "./unix-gc.ts";

// A file that goes away leaves the epoll instances that watch it.
beforeFileRelease((file) => File.epoll.load(file) === 0 || eventpollLeave(file));

/** Once per machine, at boot. */
export function ipcInit(): void {
  epollInit();
  inflightInit();
  unixInit();
  inetInit();
  netlinkInit();
}
