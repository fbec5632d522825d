/** getrandom(2). */
import { RANDOM_PART, readRandom } from "../../kernel/drivers/random.ts";
import { inParts } from "../../kernel/fs/read-write.ts";
import { UserIo } from "../../kernel/mm/iov.ts";
import { EINVAL } from "../../kernel/uapi/errno.ts";
import { flagSet, outBuffer, size } from "../args.ts";
import { syscall } from "../syscall.ts";

const GRND_NONBLOCK = 1;
const GRND_RANDOM = 2;
const GRND_INSECURE = 4;
/** Most bytes of one call. */
const LIMIT = 33554431;

const io = new UserIo();

/** getrandom(2): never blocks, the host's generator is always ready. */
export const getrandom = syscall({
  nr: 278,
  name: "getrandom",
  args: [outBuffer, size, flagSet({ GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE })],
  handler(_task, buffer, length, flags) {
    if ((flags & ~7) !== 0 || (flags & 6) === 6) return -EINVAL;
    const error = io.setUser(buffer, Math.min(length, LIMIT));
    if (error < 0) return error;
    return length <= RANDOM_PART ? readRandom(io) : inParts(io, RANDOM_PART, false, () => readRandom(io));
  },
});
