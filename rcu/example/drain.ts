/** drainCallRcu: runs everything queued so far before it returns, with the updater's lock given back meanwhile. */
import {
  alloc,
  callRcu,
  defineReclaimer,
  drainCallRcu,
  Heap,
  locked,
  type Ref,
  spinlock,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Device = struct("device", { lock: spinlock(), users: locked("lock") });
const device = alloc(Device);
// The callbacks need the lock that the updater holds.
const putUser = defineReclaimer("example: put user", (ref) => {
  const held = Device.lock.lock(ref as Ref<"device">);
  Device.users.set(held, device, Device.users.get(held, device) - 1);
  Device.lock.unlock(device);
});

const held = Device.lock.lock(device);
Device.users.set(held, device, 3);
for (let n = 0; n < 3; n++) callRcu(putUser, device);
console.log(`queued, ${Device.users.get(held, device)} users`);
drainCallRcu({ unlock: () => Device.lock.unlock(device), lock: () => Device.lock.lock(device) });
console.log(`drained, ${Device.users.get(held, device)} users; the lock is held again`);
Device.lock.unlock(device);
heap.detach();
