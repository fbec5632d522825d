/** pipe(2), splice(2), tee(2), vmsplice(2). */
import { allocFd, closeFd } from "../../kernel/fs/fdtable.ts";
import { fput } from "../../kernel/fs/file.ts";
import { pipeFiles, readEnd, writeEnd } from "../../kernel/ipc/pipe.ts";
import { splicePipe, teePipe, vmsplicePipe } from "../../kernel/ipc/splice.ts";
import { faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL } from "../../kernel/uapi/errno.ts";
import { O_CLOEXEC, O_DIRECT, O_NONBLOCK } from "../../kernel/uapi/fcntl.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import type { Ref } from "../../rcu/index.ts";
import { fd, flagSet, outFdPair, ptr, size, uint } from "../args.ts";
import { syscall } from "../syscall.ts";

const pipeFlags = flagSet({ O_CLOEXEC, O_NONBLOCK, O_DIRECT });
const spliceFlags = flagSet({
  SPLICE_F_MOVE: 1,
  SPLICE_F_NONBLOCK: 2,
  SPLICE_F_MORE: 4,
  SPLICE_F_GIFT: 8,
});

/** pipe2(2): fildes[0] reads what fildes[1] writes. */
export const pipe2 = syscall({
  nr: 59,
  name: "pipe2",
  args: [outFdPair, pipeFlags],
  partial: "O_DIRECT is accepted and does not keep packets apart",
  handler(task, fildes, flags) {
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) !== 0) return -EINVAL;
    if (faultIn(fildes, 8, ACCESS.WRITE) < 0) return -EFAULT;
    const error = pipeFiles(flags & (O_NONBLOCK | O_DIRECT));
    if (error < 0) return error;
    const files = Task.files.access(task) as Ref<"files">;
    const [reader, writer] = [readEnd, writeEnd];
    const first = allocFd(files, reader, flags);
    if (first < 0) {
      fput(reader);
      fput(writer);
      return first;
    }
    const second = allocFd(files, writer, flags);
    if (second < 0) {
      closeFd(files, first);
      fput(writer);
      return second;
    }
    putUser32(fildes, first);
    putUser32(fildes + 4, second);
    return 0;
  },
});

/** splice(2): moves bytes between two descriptors of which one is a pipe. */
export const splice = syscall({
  nr: 76,
  name: "splice",
  args: [fd, ptr, fd, ptr, size, spliceFlags],
  handler: (task, fdIn, offIn, fdOut, offOut, length, flags) =>
    splicePipe(task, fdIn, offIn, fdOut, offOut, length, flags),
});

/** tee(2): copies bytes from a pipe to another without taking them. */
export const tee = syscall({
  nr: 77,
  name: "tee",
  args: [fd, fd, size, spliceFlags],
  handler: (task, fdIn, fdOut, length, flags) => teePipe(task, fdIn, fdOut, length, flags),
});

/** vmsplice(2): user memory into a pipe, or a pipe's bytes into user memory. */
export const vmsplice = syscall({
  nr: 75,
  name: "vmsplice",
  args: [fd, ptr, uint, spliceFlags],
  handler: (task, pipe, iov, count, flags) => vmsplicePipe(task, pipe, iov, count, flags),
});
