/** inotify(7) as an open file: its events are read; notify.ts gathers them. */
import { type Ref, stringBytes, stringLength } from "../../rcu/index.ts";
import type { UserIo } from "../mm/iov.ts";
import { current } from "../sched/current.ts";
import { partDone, yieldPart } from "../sched/yield.ts";
import { userOfTask } from "../task/cred.ts";
import { limit } from "../task/limits.ts";
import { userCharge, userUncharge } from "../task/user.ts";
import { EAGAIN, EFAULT, EINVAL, EMFILE, ENOMEM } from "../uapi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDONLY } from "../uapi/fcntl.ts";
import { INOTIFY_EVENT_BYTES } from "../uapi/inotify.ts";
import { POLLIN, POLLRDNORM } from "../uapi/poll.ts";
import { anonInodeFile, File } from "./file.ts";
import { eachEvent, freeEvent, Inotify, InotifyEvent, newInotify, nextEvent } from "./inotify-queue.ts";
import { releaseInotify } from "./notify.ts";
import { FOPS, registerFileOps } from "./ops.ts";

const inotifyOf = (file: Ref<"file">): Ref<"inotify"> => File.priv.peek(file) as Ref<"inotify">;
/** The instance of a file; 0 when it is none. */
export const asInotify = (file: Ref<"file">): Ref<"inotify"> | 0 =>
  File.fops.get(file) === FOPS.INOTIFY ? inotifyOf(file) : 0;

/** Events that wait in the queue of such a file; 0 for others. */
export function eventsOf(file: Ref<"file">): number {
  const instance = asInotify(file);
  return instance === 0 ? 0 : Inotify.queued.get(instance);
}

/** inotify_init1(2): the file, or -errno. */
export function inotifyFile(flags: number): Ref<"file"> | number {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) !== 0) return -EINVAL;
  const task = current();
  const user = task === 0 ? 0 : userOfTask(task);
  if (!userCharge(user, "inotifyInstances", 1, limit("inotifyInstances"))) return -EMFILE;
  const instance = newInotify();
  if (instance === 0) {
    userUncharge(user, "inotifyInstances", 1);
    return -ENOMEM;
  }
  Inotify.user.init(instance, user);
  const file = anonInodeFile(FOPS.INOTIFY, instance, O_RDONLY | (flags & O_NONBLOCK), "inotify");
  if (file < 0) releaseInotify(instance);
  return file;
}

/** Bytes of the name as read(2) gives it: with at least one NUL, a multiple of the header's size. */
function nameBytes(event: Ref<"inotify_event">): number {
  const name = InotifyEvent.name.get(event);
  if (name === 0) return 0;
  return Math.ceil((stringLength(name) + 1) / INOTIFY_EVENT_BYTES) * INOTIFY_EVENT_BYTES;
}
const eventBytes = (event: Ref<"inotify_event">): number => INOTIFY_EVENT_BYTES + nameBytes(event);

function encode(event: Ref<"inotify_event">): Uint8Array {
  const bytes = new Uint8Array(eventBytes(event));
  const view = new DataView(bytes.buffer);
  view.setInt32(0, InotifyEvent.wd.get(event), true);
  view.setInt32(4, InotifyEvent.mask.get(event), true);
  view.setInt32(8, InotifyEvent.cookie.get(event), true);
  view.setInt32(12, nameBytes(event), true);
  const name = InotifyEvent.name.get(event);
  if (name !== 0) bytes.set(stringBytes(name), INOTIFY_EVENT_BYTES);
  return bytes;
}

/** Events that are read in about a millisecond. */
const PART = 512;

/** As many whole events as there is room for: -EINVAL when not even one fits. */
function read(file: Ref<"file">, io: UserIo): number {
  const instance = inotifyOf(file);
  let done = partDone();
  io.skip(done);
  for (let events = 1; ; events++) {
    const event = nextEvent(instance, io.remaining, eventBytes);
    if (event === 0) return done > 0 ? done : -EAGAIN;
    if (event === -1) return done > 0 ? done : -EINVAL;
    const bytes = encode(event);
    freeEvent(instance, event);
    if (io.copyTo(bytes, 0, bytes.length) !== bytes.length) return done > 0 ? done : -EFAULT;
    done += bytes.length;
    const stop = events % PART === 0 ? yieldPart(done, true) : 0;
    if (stop !== 0) return stop;
  }
}

registerFileOps(FOPS.INOTIFY, {
  read,
  poll: (file) => (Inotify.firstEvent.get(inotifyOf(file)) === 0 ? 0 : POLLIN | POLLRDNORM),
  waitQueues: (file, visit) => visit(Inotify.wait.at(inotifyOf(file))),
  available(file) {
    let bytes = 0;
    eachEvent(inotifyOf(file), (event) => {
      bytes += eventBytes(event);
    });
    return bytes;
  },
  release: (file) => releaseInotify(inotifyOf(file)),
});
