/** A struct with a link of its own, for the intrusive list. */
import { fixed, listNode, type Ref, struct, tryAlloc } from "../../../rcu/index.ts";
import { makeItem } from "./values.ts";

export const Job = struct("property job", { key: fixed(), link: listNode(), item: fixed() });
export type JobRef = Ref<"property job">;

export function makeJob(key: number, version: number): JobRef {
  const job = tryAlloc(Job);
  if (job === 0) throw new Error("the heap of the test is full");
  Job.key.init(job, key);
  Job.item.init(job, makeItem(key, version));
  return job;
}
