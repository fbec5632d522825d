/** inotify(7). The events are those that Linux gave when a program made the same calls. */
import test from "ava";
import { makeLink } from "../../../kernel/fs/dir.ts";
import { allocFd, fget } from "../../../kernel/fs/fdtable.ts";
import { Inode } from "../../../kernel/fs/inode.ts";
import { asInotify, inotifyFile } from "../../../kernel/fs/inotify.ts";
import { Inotify, InotifyEvent, MAX_QUEUED_EVENTS } from "../../../kernel/fs/inotify-queue.ts";
import { nd, pathLookup } from "../../../kernel/fs/namei.ts";
import { addWatch, notifyPlace, removeWatch } from "../../../kernel/fs/notify.ts";
import { FOPS, fileOpsOf } from "../../../kernel/fs/ops.ts";
import { fileRead } from "../../../kernel/fs/read-write.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { filePoll } from "../../../kernel/ipc/poll.ts";
import { UserIo } from "../../../kernel/mm/iov.ts";
import { EAGAIN, EEXIST, EINVAL } from "../../../kernel/uapi/errno.ts";
import { AT_FDCWD, O_CREAT, O_NONBLOCK, O_RDWR, O_TRUNC, O_WRONLY } from "../../../kernel/uapi/fcntl.ts";
import * as uapi from "../../../kernel/uapi/inotify.ts";
import { POLLIN } from "../../../kernel/uapi/poll.ts";
import { liveObjects, type Ref } from "../../../rcu/index.ts";
import { close, lookup, mkdir, open, read, rmdir, unlink, write } from "./calls.ts";
import { bootMachine, settle } from "./machine.ts";

const { task, files } = bootMachine();
const ALL = uapi.IN_ALL_EVENTS;
const NAMES = Object.entries(uapi)
  .filter(([name, bit]) => /^IN_(?!ALL|ONLY|DONT|EXCL|MASK|ONESHOT)/.test(name) && bit > 0)
  .sort((one, other) => one[1] - other[1]);

/** An instance: its descriptor, watching, and what it was told. */
function instance() {
  const file = inotifyFile(O_NONBLOCK) as Ref<"file">;
  const fd = allocFd(files, file, 0);
  const inotify = () => fget(files, fd) as Ref<"file">;
  const raw = (count: number): Uint8Array | number => {
    const io = new UserIo();
    const bytes = new Uint8Array(count);
    io.setKernel(bytes);
    const got = fileRead(inotify(), io);
    return got < 0 ? got : bytes.subarray(0, got);
  };
  const priv = (): Ref<"inotify"> => asInotify(inotify()) as Ref<"inotify">;
  return {
    fd,
    raw,
    file: inotify,
    watch(path: string, mask = ALL): number {
      const error = lookup(path);
      return error < 0 ? error : addWatch(priv(), nd.inode, mask);
    },
    remove: (wd: number): boolean => removeWatch(priv(), wd),
    /** Each event as "wd:NAMES:name#pair". */
    events(): string[] {
      settle(task);
      const bytes = raw(65536);
      if (typeof bytes === "number") return bytes === -EAGAIN ? [] : [String(bytes)];
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const found: string[] = [];
      let first = 0;
      for (let at = 0; at < bytes.length; at += 16 + view.getUint32(at + 12, true)) {
        const mask = view.getUint32(at + 4, true);
        const kinds = NAMES.filter(([, bit]) => (mask & bit) >>> 0 === bit).map(([name]) => name.slice(3));
        const name = String.fromCharCode(...bytes.subarray(at + 16, at + 16 + view.getUint32(at + 12, true)));
        const cookie = view.getUint32(at + 8, true);
        if (cookie !== 0 && first === 0) first = cookie - 1;
        const text = name.replace(/\0+$/, "");
        found.push(
          `${view.getInt32(at, true)}:${kinds.join("|")}${text && `:${text}`}${cookie ? `#${cookie - first}` : ""}`,
        );
      }
      return found;
    },
  };
}
const rename = (from: string, to: string): number =>
  renamePath(AT_FDCWD, Buffer.from(from), AT_FDCWD, Buffer.from(to), 0);
/** Makes a file that holds an x. */
function make(path: string): void {
  const fd = open(path, O_CREAT | O_WRONLY | O_TRUNC);
  write(fd, "x");
  close(fd);
  settle(task);
}

test.serial(
  "a directory hears of its entries by name, a file of itself; a second watch is the first",
  (t) => {
    mkdir("/d");
    const n = instance();
    t.is(n.watch("/d"), 1);
    make("/d/f");
    t.deepEqual(n.events(), ["1:CREATE:f", "1:OPEN:f", "1:MODIFY:f", "1:CLOSE_WRITE:f"]);
    t.is(n.watch("/d/f"), 2);
    t.is(n.watch("/d/f"), 2);
    t.is(n.watch("/d", uapi.IN_MASK_CREATE | ALL), -EEXIST);
    const fd = open("/d/f");
    t.is(read(fd), "x");
    close(fd);
    t.deepEqual(n.events(), [
      "1:OPEN:f",
      "2:OPEN",
      "1:ACCESS:f",
      "2:ACCESS",
      "1:CLOSE_NOWRITE:f",
      "2:CLOSE_NOWRITE",
    ]);
    close(n.fd);
  },
);

test.serial("a rename is two events with one cookie, and one of what moved", (t) => {
  const n = instance();
  mkdir("/m");
  make("/m/f");
  mkdir("/m/s");
  n.watch("/m");
  n.watch("/m/f");
  rename("/m/f", "/m/g");
  t.deepEqual(n.events(), ["1:MOVED_FROM:f#1", "1:MOVED_TO:g#1", "2:MOVE_SELF"]);
  rename("/m/s", "/m/t");
  t.deepEqual(n.events(), ["1:MOVED_FROM|ISDIR:s#1", "1:MOVED_TO|ISDIR:t#1"]);
  make("/m/over");
  settle(task);
  n.watch("/m/over");
  n.events();
  rename("/m/g", "/m/over");
  t.deepEqual(n.events().slice(2), ["2:MOVE_SELF", "3:ATTRIB", "3:DELETE_SELF", "3:IGNORED"]);
  close(n.fd);
});

test.serial("what is deleted says so when nobody has it open any more, and its watch is gone", (t) => {
  const n = instance();
  mkdir("/x");
  mkdir("/x/s");
  make("/x/f");
  settle(task);
  n.watch("/x");
  n.watch("/x/s");
  rmdir("/x/s");
  t.deepEqual(n.events(), ["2:DELETE_SELF", "2:IGNORED", "1:DELETE|ISDIR:s"]);
  n.watch("/x/f");
  const fd = open("/x/f");
  unlink("/x/f");
  t.deepEqual(n.events(), ["1:OPEN:f", "3:OPEN", "3:ATTRIB", "1:DELETE:f"]);
  close(fd);
  t.deepEqual(n.events(), ["1:CLOSE_NOWRITE:f", "3:CLOSE_NOWRITE", "3:DELETE_SELF", "3:IGNORED"]);
  t.false(n.remove(3));
  t.true(n.remove(1));
  t.deepEqual(n.events(), ["1:IGNORED"]);
  make("/x/f");
  t.deepEqual(n.events(), []);
  close(n.fd);
});

test.serial(
  "a link is an attribute of the file; IN_ONESHOT hears once; IN_EXCL_UNLINK ignores what has no name",
  (t) => {
    const n = instance();
    mkdir("/o");
    make("/o/f");
    n.watch("/o/f");
    pathLookup(AT_FDCWD, Buffer.from("/o/f"), 0);
    makeLink(nd.inode, nd.mount, AT_FDCWD, Buffer.from("/o/g"));
    t.deepEqual(n.events(), ["1:ATTRIB"]);
    n.watch("/o", (uapi.IN_ONESHOT | uapi.IN_CREATE) >>> 0);
    make("/o/a");
    make("/o/b");
    t.deepEqual(n.events(), ["2:CREATE:a", "2:IGNORED"]);
    n.watch("/o", uapi.IN_EXCL_UNLINK | uapi.IN_CLOSE_NOWRITE);
    const [kept, gone] = [open("/o/a"), open("/o/b")];
    unlink("/o/b");
    close(gone);
    close(kept);
    t.deepEqual(n.events(), ["3:CLOSE_NOWRITE:a"]);
    close(n.fd);
  },
);

test.serial(
  "events of one read are whole: too small a buffer is EINVAL, FIONREAD counts, repeats are merged",
  (t) => {
    const n = instance();
    mkdir("/r");
    n.watch("/r", uapi.IN_CREATE | uapi.IN_MODIFY);
    t.is(n.raw(100), -EAGAIN);
    t.is(filePoll(n.file()) & POLLIN, 0);
    const fd = open("/r/a-name-of-16-byt", O_CREAT | O_RDWR);
    for (let i = 0; i < 5; i++) write(fd, "x");
    t.is(filePoll(n.file()) & POLLIN, POLLIN);
    t.is(fileOpsOf(FOPS.INOTIFY).available!(n.file()), 2 * (16 + 32));
    t.is(n.raw(47), -EINVAL);
    t.is((n.raw(95) as Uint8Array).length, 48);
    t.deepEqual(n.events(), ["1:MODIFY:a-name-of-16-byt"]);
    close(fd);
    close(n.fd);
  },
);

test.serial("a full queue says that events were lost, once", (t) => {
  const n = instance();
  make("/q");
  n.watch("/q", uapi.IN_MODIFY | uapi.IN_ATTRIB);
  lookup("/q");
  for (let i = 0; i < MAX_QUEUED_EVENTS + 10; i++)
    notifyPlace(0, nd.inode, i % 2 === 0 ? uapi.IN_MODIFY : uapi.IN_ATTRIB);
  t.is(fileOpsOf(FOPS.INOTIFY).available!(n.file()), (MAX_QUEUED_EVENTS + 1) * 16);
  for (let i = 0; i < MAX_QUEUED_EVENTS / 4096; i++) n.raw(65536);
  t.deepEqual(n.events(), ["-1:Q_OVERFLOW"]);
  lookup("/q");
  notifyPlace(0, nd.inode, uapi.IN_MODIFY);
  t.deepEqual(n.events(), ["1:MODIFY"]);
  close(n.fd);
});

test.serial("unlink(2) of a last name that comes while a watch is added finds the watch, or is seen", (t) => {
  const n = instance();
  make("/late");
  const load = Inode.nlink.load;
  const found: number[] = [];
  // The last name goes right after addWatch looked for it; then unlink looks for watches.
  Object.assign(Inode.nlink, {
    load(inode: Ref<"inode">): number {
      const names = load.call(Inode.nlink, inode);
      found.push(Inode.watches.load(inode));
      return names;
    },
  });
  try {
    t.is(n.watch("/late"), 1);
  } finally {
    Object.assign(Inode.nlink, { load });
  }
  t.true(found.length > 0);
  t.not(found.at(-1), 0);
  close(n.fd);
});

test.serial("nothing is left of an instance that is closed with watches and events", (t) => {
  settle(task);
  const count = (): number[] => [Inotify, InotifyEvent, Inode].map((type) => liveObjects(type));
  const before = count();
  const n = instance();
  mkdir("/z");
  n.watch("/z");
  make("/z/f");
  close(n.fd);
  unlink("/z/f");
  rmdir("/z");
  settle(task);
  t.deepEqual(count(), before);
});
