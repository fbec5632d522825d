/** A list of values that changes while it is walked, and an intrusive one through structs: no allocation to be put on it. */
import {
  alloc,
  fixed,
  Heap,
  kfreeRcu,
  listNode,
  RcuIntrusiveList,
  RcuList,
  RcuReadScope,
  type Ref,
  struct,
  text,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const list = new RcuList();
for (let n = 1; n <= 5; n++) list.push(n);
{
  using scope = new RcuReadScope();
  const seen: number[] = [];
  list.forEach(scope, (value, cursor) => {
    seen.push(value);
    if (value === 2) list.remove(scope, cursor); // The walk goes on from the removed entry.
    if (value === 4) list.insertAfter(scope, cursor, 40);
  });
  console.log(`walked ${seen.join(" ")}`);
  const first = list.first(scope);
  if (first !== 0) console.log(`first ${list.value(scope, first)}, removed: ${list.remove(scope, first)}`);
}

const words = new RcuList<string>({ value: text() });
words.push("walk");
words.unshift("first");
{
  using scope = new RcuReadScope();
  const seen: string[] = [];
  words.forEach(scope, (word) => seen.push(word));
  console.log(`strings ${seen.join(" ")}`);
}

const Task = struct("task", { pid: fixed(), node: listNode() });
const tasks = new RcuIntrusiveList(Task, Task.node);
for (let pid = 1; pid <= 3; pid++) {
  const task = alloc(Task);
  Task.pid.init(task, pid);
  tasks.push(task);
}
{
  using scope = new RcuReadScope();
  const gone = tasks.first(scope) as Ref<"task">;
  if (tasks.remove(gone)) kfreeRcu(Task, gone); // Ours to free: the list owns nothing.
  const pids: number[] = [];
  tasks.forEach(scope, (task) => pids.push(Task.pid.get(task)));
  console.log(`tasks ${pids.join(" ")}`);
}
heap.detach();
