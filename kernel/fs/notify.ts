/**
 * Who watches which inode, and telling them what happens to it, inotify(7). A watch is a mark, in the list of its inode and
 * in that of its instance, whose queue (inotify-queue.ts) gets the events.
 */

import { fixed, free, kfreeRcu, owned, type Ref, struct, tryAlloc } from "../../rcu/index.ts";
import { defineLater, LATER_WATCHES, laterByTask } from "../sched/later.ts";
import { destroyWaitQueue } from "../sched/waitqueue.ts";
import { limit } from "../task/limits.ts";
import { userCharge, userUncharge } from "../task/user.ts";
import { EEXIST, ENOENT, ENOMEM, ENOSPC } from "../uapi/errno.ts";
import {
  IN_ALL_EVENTS,
  IN_ATTRIB,
  IN_CLOSE_NOWRITE,
  IN_CLOSE_WRITE,
  IN_DELETE_SELF,
  IN_EXCL_UNLINK,
  IN_IGNORED,
  IN_ISDIR,
  IN_MASK_ADD,
  IN_MASK_CREATE,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONESHOT,
} from "../uapi/inotify.ts";
import { S_IFDIR } from "../uapi/stat.ts";
import { dentryInode, dentryName, dentryParent, dentryUnhashed } from "./dcache.ts";
import { File, FMODE_PATH, FMODE_WRITE, onFileRelease } from "./file.ts";
import { Inode, igrabLive, inodeType, setWatchEviction } from "./inode.ts";
import {
  anybody,
  enqueue,
  freeEvent,
  Inotify,
  InotifyEvent,
  locked,
  type M,
  type N,
  takeEvent,
  Watching,
  watching,
} from "./inotify-queue.ts";

type I = Ref<"inode">;
type F = Ref<"file">;
type D = Ref<"dentry">;

const Mark = struct("inotify_mark", {
  instance: fixed<N>(),
  inode: fixed<I>(),
  wd: fixed(),
  /** Events and IN_EXCL_UNLINK, IN_ONESHOT. */
  mask: owned(),
  /** It counts its inode, which a deleted one must not be by its watches. */
  pinned: owned(),
  nextOfInode: owned<Ref<"inotify_mark"> | 0>(),
  nextOfInstance: owned<Ref<"inotify_mark"> | 0>(),
});

/** The last descriptor of the instance is closed. */
export function releaseInotify(instance: N): void {
  if (releasePart(instance) !== 0) laterByTask(LATER_WATCHES, instance);
}

/** Watches that an instance loses in one part. */
const PART_MARKS = 512;

/** A part of that: 0 when the instance is gone. */
function releasePart(instance: N): number {
  let left = PART_MARKS;
  locked((_wake, drop) => {
    for (let mark = Inotify.firstMark.get(instance); mark !== 0 && left > 0; left--) {
      removeMark(mark, drop);
      mark = Inotify.firstMark.get(instance);
    }
    if (left > 0)
      for (let event = takeEvent(instance); event !== 0; event = takeEvent(instance))
        freeEvent(instance, event);
  });
  if (left === 0) return 1;
  destroyWaitQueue(Inotify.wait.at(instance));
  free(InotifyEvent, Inotify.overflow.get(instance));
  userUncharge(Inotify.user.get(instance), "inotifyInstances", 1);
  kfreeRcu(Inotify, instance);
  return 0;
}
defineLater(LATER_WATCHES, (instance) => releasePart(instance as N));

/** Takes a mark out of its lists and frees it. */
function removeMark(mark: M, drop: I[]): void {
  const inode = Mark.inode.get(mark);
  const instance = Mark.instance.get(mark);
  const after = Mark.nextOfInode.get(mark);
  let at = Inode.watches.load(inode) as M;
  if (at === mark) Inode.watches.store(inode, after);
  else {
    while (Mark.nextOfInode.get(at) !== mark) at = Mark.nextOfInode.get(at) as M;
    Mark.nextOfInode.set(at, after);
  }
  const next = Mark.nextOfInstance.get(mark);
  at = Inotify.firstMark.get(instance) as M;
  if (at === mark) Inotify.firstMark.set(instance, next);
  else {
    while (Mark.nextOfInstance.get(at) !== mark) at = Mark.nextOfInstance.get(at) as M;
    Mark.nextOfInstance.set(at, next);
  }
  Watching.watches.add(watching.get(), -1);
  userUncharge(Inotify.user.get(instance), "inotifyWatches", 1);
  if (Mark.pinned.get(mark) !== 0) drop.push(inode);
  free(Mark, mark);
}

/** inotify_add_watch(2) on an inode that was looked up in this handler: the watch's number, or -errno. */
export function addWatch(instance: N, inode: I, mask: number): number {
  if (!igrabLive(inode)) return -ENOENT;
  return locked((_wake, drop) => {
    const kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT);
    let mark = Inode.watches.load(inode) as M | 0;
    while (mark !== 0 && Mark.instance.get(mark) !== instance) mark = Mark.nextOfInode.get(mark);
    if (mark !== 0) {
      drop.push(inode);
      if ((mask & IN_MASK_CREATE) !== 0) return -EEXIST;
      Mark.mask.set(mark, (mask & IN_MASK_ADD) !== 0 ? Mark.mask.get(mark) | kept : kept);
      return Mark.wd.get(mark);
    }
    const user = Inotify.user.get(instance);
    const full = !userCharge(user, "inotifyWatches", 1, limit("inotifyWatches"));
    const made = full ? 0 : tryAlloc(Mark);
    if (made === 0) {
      if (!full) userUncharge(user, "inotifyWatches", 1);
      drop.push(inode);
      return full ? -ENOSPC : -ENOMEM;
    }
    const wd = Inotify.lastWd.get(instance) + 1;
    Inotify.lastWd.set(instance, wd);
    Mark.instance.init(made, instance);
    Mark.inode.init(made, inode);
    Mark.wd.init(made, wd);
    Mark.mask.set(made, kept);
    Mark.nextOfInode.set(made, Inode.watches.load(inode) as M | 0);
    Inode.watches.store(inode, made);
    // The watch is there before its inode's names are counted, and unlink(2) looks for watches after it took a name: one of the
    // two sees that the last name is gone.
    const pinned = Inode.nlink.load(inode) > 0;
    Mark.pinned.set(made, pinned ? 1 : 0);
    if (!pinned) drop.push(inode);
    Mark.nextOfInstance.set(made, Inotify.firstMark.get(instance));
    Inotify.firstMark.set(instance, made);
    Watching.watches.add(watching.get(), 1);
    return wd;
  });
}

/** inotify_rm_watch(2): whether there was such a watch. IN_IGNORED is its last event. */
export function removeWatch(instance: N, wd: number): boolean {
  return locked((wake, drop) => {
    let mark = Inotify.firstMark.get(instance);
    while (mark !== 0 && Mark.wd.get(mark) !== wd) mark = Mark.nextOfInstance.get(mark);
    if (mark === 0) return false;
    enqueue(instance, wd, IN_IGNORED, 0, null);
    removeMark(mark, drop);
    wake.push(instance);
    return true;
  });
}

/** Tells who watches the inode; `unlinked`: the event is of an entry that has no name in it any more. */
function tell(inode: I, mask: number, name: Uint8Array | null, cookie = 0, unlinked = false): void {
  if (Inode.watches.load(inode) === 0) return;
  locked((wake, drop) => {
    let next: M | 0 = 0;
    for (let mark = Inode.watches.load(inode) as M | 0; mark !== 0; mark = next) {
      next = Mark.nextOfInode.get(mark);
      const wanted = Mark.mask.get(mark);
      if ((wanted & mask & IN_ALL_EVENTS) === 0 || (unlinked && (wanted & IN_EXCL_UNLINK) !== 0)) continue;
      const instance = Mark.instance.get(mark);
      enqueue(instance, Mark.wd.get(mark), mask, cookie, name);
      wake.push(instance);
      if ((wanted & IN_ONESHOT) === 0) continue;
      enqueue(instance, Mark.wd.get(mark), IN_IGNORED, 0, null);
      removeMark(mark, drop);
    }
  });
}

const directoryBit = (type: number): number => (type === S_IFDIR ? IN_ISDIR : 0);

/** Something happened to what a name leads to: its directory's watches hear of it, then its own. */
export function notifyPlace(dentry: D | 0, inode: I, mask: number): void {
  if (!anybody()) return;
  const event = mask | directoryBit(inodeType(inode));
  const parent = dentry === 0 ? 0 : dentryParent(dentry);
  const dir = parent === 0 || parent === dentry ? 0 : dentryInode(parent);
  if (dir !== 0 && Inode.watches.load(dir) !== 0)
    tell(dir, event, dentryName(dentry as D), 0, dentryUnhashed(dentry as D));
  tell(inode, event, null);
}

/** The same of an open file. */
export function notifyFile(file: F, mask: number): void {
  if (anybody()) notifyPlace(File.dentry.get(file), File.inode.get(file), mask);
}

/** A name came into a directory, or left it. `type` (S_IFMT) is of what it leads to. */
export function notifyEntry(dir: I, name: Uint8Array, type: number, mask: number): void {
  if (anybody()) tell(dir, mask | directoryBit(type), name);
}

/** A name moved: both directories hear of it with one cookie, and what was moved. */
export function notifyMove(from: I, oldName: Uint8Array, to: I, newName: Uint8Array, inode: I): void {
  if (!anybody()) return;
  const cookie = Watching.cookie.add(watching.get(), 1) + 1;
  const bit = directoryBit(inodeType(inode));
  tell(from, IN_MOVED_FROM | bit, oldName, cookie);
  tell(to, IN_MOVED_TO | bit, newName, cookie);
  tell(inode, IN_MOVE_SELF, null);
}

/**
 * A name of the inode is gone. Once it has none its watches do not keep it any more: who has it open does, and when it goes
 * (evicted) they hear IN_DELETE_SELF.
 */
export function notifyUnlinked(inode: I): void {
  // Not `anybody`, a racy look: see addWatch.
  if (Inode.watches.load(inode) === 0) return;
  if (inodeType(inode) !== S_IFDIR) tell(inode, IN_ATTRIB, null);
  if (Inode.nlink.load(inode) > 0) return;
  locked((_wake, drop) => {
    for (let mark = Inode.watches.load(inode) as M | 0; mark !== 0; mark = Mark.nextOfInode.get(mark)) {
      if (Mark.pinned.get(mark) !== 0) drop.push(inode);
      Mark.pinned.set(mark, 0);
    }
  });
}

/** The inode goes: its watches say so, and are gone with it. */
setWatchEviction((inode) => {
  if (Inode.nlink.load(inode) <= 0) tell(inode, IN_DELETE_SELF, null);
  locked((wake, drop) => {
    for (
      let mark = Inode.watches.load(inode) as M | 0;
      mark !== 0;
      mark = Inode.watches.load(inode) as M | 0
    ) {
      enqueue(Mark.instance.get(mark), Mark.wd.get(mark), IN_IGNORED, 0, null);
      wake.push(Mark.instance.get(mark));
      removeMark(mark, drop);
    }
  });
});

onFileRelease((file) => {
  const mode = File.mode.get(file);
  if ((mode & FMODE_PATH) === 0)
    notifyFile(file, (mode & FMODE_WRITE) !== 0 ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
});
