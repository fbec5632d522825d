/** Tasks RCU: waits until every task has switched by itself, sleeps or is gone. The task itself is the read scope. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  callRcuTasks,
  defineReclaimer,
  Heap,
  rcuBarrierTasks,
  rcuIdleEnter,
  rcuIdleExit,
  rcuStats,
  rcuTasksQuiescent,
  rcuTasksRegister,
  rcuTasksSleep,
  rcuTasksUnregister,
  rcuTasksWake,
  synchronizeRcuTasks,
} from "sternix/rcu";

// Where a task may be running the code, no read scope says that it has left it.
const unload = defineReclaimer("example: unload", (module) => console.log(`module ${module} is unloaded`));

if (isMainThread) {
  const heap = Heap.create({ bytes: 16 << 20 });
  const running = rcuTasksRegister();
  const sleeping = rcuTasksRegister();
  rcuTasksSleep(sleeping); // Not waited for.
  const worker = new Worker(new URL(import.meta.url), { workerData: heap.handle() });
  rcuIdleEnter();
  await once(worker, "message");
  let done = false;
  worker.once("message", () => {
    done = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  console.log(`while a task runs: done ${done}`);
  rcuTasksQuiescent(running); // It switches: it executes nothing that is being replaced.
  await once(worker, "exit");
  console.log(`after it switched: done ${done}`);
  rcuIdleExit();
  callRcuTasks(unload, 1); // The same without waiting.
  console.log(`${rcuStats().callbacksPending} callback waits`);
  rcuTasksSleep(running);
  rcuBarrierTasks();
  rcuTasksWake(sleeping);
  rcuTasksUnregister(sleeping);
  rcuTasksUnregister(running);
  heap.detach();
} else {
  const heap = Heap.attach(workerData);
  parentPort!.postMessage("waiting");
  synchronizeRcuTasks();
  parentPort!.postMessage("done");
  heap.detach();
}
