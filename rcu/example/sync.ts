/** RcuSync: readers take no lock while nobody writes, what hardly ever happens. */
import {
  alloc,
  fixed,
  Heap,
  RcuSync,
  rcuBarrier,
  rcuReadLock,
  rcuReadUnlock,
  rwlock,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Limits = struct("limits", { lock: rwlock(), files: fixed(), bytes: fixed() });
const limits = alloc(Limits);
const sync = new RcuSync();

/** Both numbers, of one moment. */
function read(): string {
  const scope = rcuReadLock();
  const short = sync.isIdle(scope);
  if (!short) Limits.lock.readLock(limits);
  const text = `${Limits.files.get(limits)} files, ${Limits.bytes.get(limits)} bytes`;
  if (!short) Limits.lock.readUnlock(limits);
  rcuReadUnlock();
  return `${text} (${short ? "no lock" : "locked"})`;
}
function write(files: number, bytes: number): void {
  Limits.lock.writeLock(limits);
  Limits.files.init(limits, files);
  Limits.bytes.init(limits, bytes);
  Limits.lock.writeUnlock(limits);
}

console.log(read());
sync.enter(); // Readers take the lock from here on.
write(10, 4096);
console.log(read());
write(20, 8192);
sync.exit();
console.log(read()); // Not every thread may have seen what was written.
rcuBarrier();
console.log(read());
sync.destroy();
rcuBarrier();
heap.detach();
