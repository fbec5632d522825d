/** Readers of an Srcu and tasks of Tasks RCU that hold a grace period up are named; so are scopes that somebody left open. */
import {
  callRcuTasks,
  checkStall,
  defineReclaimer,
  Heap,
  openSrcuScopes,
  rcuBarrierTasks,
  rcuQuiescent,
  rcuRunCallbacks,
  rcuStallText,
  rcuTasksRegister,
  rcuTasksUnregister,
  Srcu,
  setRcuStallHandler,
  setRcuTaskNamer,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const nothing = defineReclaimer("example: nothing", () => {});
setRcuTaskNamer((_slot, record) => (record === 0 ? "the main loop" : "the compiler"));
setRcuStallHandler(20, (stall) => console.log(rcuStallText(stall)));

const sessions = new Srcu({ name: "sessions" });
const scope = sessions.readLock();
sessions.startPoll();
const compiler = rcuTasksRegister();
callRcuTasks(nothing, 0); // Nobody waits for it: it is a thread that ticks who notices.
rcuQuiescent();
rcuRunCallbacks();
const end = performance.now() + 30;
while (performance.now() < end) rcuQuiescent();
checkStall();

for (const { name, readers } of openSrcuScopes())
  console.log(`${name}: ${readers.map(({ slot, scopes }) => `${scopes} of slot ${slot}`).join(", ")}`);
console.log(`held: ${sessions.readLockHeld()}`);
sessions.readUnlock(scope);
rcuTasksUnregister(compiler);
rcuBarrierTasks();
console.log(`${openSrcuScopes().length} open, stall: ${checkStall()}`);
sessions.destroy();
heap.detach();
