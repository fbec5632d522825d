/** RcuPtr owns nothing, RcuBox its object, RcuOptionBox perhaps one. What readers hold is freed a grace period later. */
import {
  alloc,
  fixed,
  Heap,
  liveObjects,
  RcuBox,
  RcuOptionBox,
  RcuPtr,
  type Ref,
  rcuBarrier,
  rcuRead,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Version = struct("version", { number: fixed() });
const make = (number: number): Ref<"version"> => {
  const version = alloc(Version);
  Version.number.init(version, number);
  return version;
};
const [one, two] = [make(1), make(2)];

const here = new RcuPtr(one);
const there = new RcuPtr<"version">();
there.assign(two); // Publishes.
here.swap(there);
{
  using guard = rcuRead(here);
  console.log(`after swap: ${Version.number.get(guard.value as Ref<"version">)}`);
}
console.log(`replace gave the old one: ${there.replace(0) === one}`);
there.poison();
try {
  rcuRead(there);
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
}

const box = new RcuBox(Version, make(3));
const option = new RcuOptionBox(Version);
console.log(`there was one before: ${option.update(make(4))}`);
box.update(make(5)); // Frees version 3 after a grace period.
option.update(0); // And version 4.
console.log(`before the barrier: ${liveObjects(Version)} objects`);
rcuBarrier();
console.log(`after it: ${liveObjects(Version)} objects`);
heap.detach();
