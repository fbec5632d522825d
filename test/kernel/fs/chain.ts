/** Names of one hash chain of the dentry cache, without the directory's lock: the chain has to stand that by itself. */
import {
  findNextName,
  findShort,
  freeName,
  hashName,
  newName,
  USE_PINNED,
  unhash,
} from "../../../kernel/fs/dname.ts";
import { nd } from "../../../kernel/fs/namei.ts";
import { qstrOf } from "../../../kernel/fs/qstr.ts";
import { type Ref, rcuReadLock, rcuReadUnlock } from "../../../rcu/index.ts";

const text = qstrOf(new TextEncoder().encode("chain"));
const AT_ONCE = 4;

/** A record in the chain: of directory nd.dentry and one name for all, so that they all collide. */
export function addName(): Ref<"dname"> {
  const name = newName(nd.dentry, nd.dentry, text, USE_PINNED);
  if (name === 0) throw new Error("no memory for a name");
  hashName(name);
  return name;
}

/** Adds some records and takes them out again, beginning with another one each time. */
export function churnChain(n: number): void {
  const names = Array.from({ length: AT_ONCE }, addName);
  for (let k = 0; k < AT_ONCE; k++) {
    const name = names[(k + n) % AT_ONCE]!;
    unhash(name);
    freeName(name);
  }
}

/** Whether a walk along the chain comes past the record, and how many it saw. */
export function walkChain(wanted: Ref<"dname">): { found: boolean; seen: number } {
  const scope = rcuReadLock();
  let found = false;
  let seen = 0;
  for (
    let name = findShort(scope, nd.dentry, text);
    name !== 0;
    name = findNextName(scope, nd.dentry, text, name)
  ) {
    found ||= name === wanted;
    seen++;
  }
  rcuReadUnlock();
  return { found, seen };
}
