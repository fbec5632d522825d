/** Giving a dentry another name: what rename does to the dentry cache. */
import type { Held, Ref } from "../../rcu/index.ts";
import { D_PINNED, D_UNHASHED, Dentry, dget, dput, linkChild, unlinkChild } from "./dcache.ts";
import {
  freeName,
  hashName,
  nameParent,
  nameQstr,
  newName,
  USE_PINNED,
  USE_RECENT,
  unhash,
} from "./dname.ts";
import { Qstr } from "./qstr.ts";

type D = Ref<"dentry">;

const text = new Qstr();
const useOf = (dentry: D): number => ((Dentry.flags.peek(dentry) & D_PINNED) !== 0 ? USE_PINNED : USE_RECENT);

/**
 * Gives `dentry` the name of `target` in `target`'s directory, and removes `target`; with `exchange`, target gets
 * dentry's old name. Both directories' inode locks are held, and counts of both dentries. -1 when memory is short, with
 * nothing changed. `target` must be hashed; see dMoveNew for a name that is not cached.
 */
export function dMoveOver(held: Held, dentry: D, target: D, exchange: boolean): number {
  const from = Dentry.name.access(dentry) as Ref<"dname">;
  const to = Dentry.name.access(target) as Ref<"dname">;
  const fromParent = nameParent(from);
  const toParent = nameParent(to);
  const moved = newName(toParent, dentry, nameQstr(to, text), useOf(dentry));
  if (moved === 0) return -1;
  if (exchange) {
    const swapped = newName(fromParent, target, nameQstr(from, text), useOf(target));
    if (swapped === 0) {
      freeName(moved);
      return -1;
    }
    Dentry.name.assign(held, dentry, moved);
    Dentry.name.assign(held, target, swapped);
    unhash(to, moved);
    unhash(from, swapped);
    swapSiblings(held, fromParent, toParent, dentry, target);
    freeName(from);
    freeName(to);
    return 0;
  }
  dget(toParent); // The moved name's own count; target keeps its one with its record, for ".." and d_path.
  Dentry.flags.or(target, D_UNHASHED);
  unhash(to, moved);
  Dentry.name.assign(held, dentry, moved);
  unhash(from);
  relink(held, fromParent, toParent, dentry);
  if ((Dentry.flags.peek(target) & D_PINNED) !== 0) unlinkChild(held, toParent, target);
  freeName(from);
  dput(fromParent);
  return 0;
}

/** Gives `dentry` a name that is not cached in `parent`. Locks and result as dMoveOver. */
export function dMoveNew(held: Held, dentry: D, parent: D, to: Qstr): number {
  const from = Dentry.name.access(dentry) as Ref<"dname">;
  const fromParent = nameParent(from);
  const moved = newName(parent, dentry, to, useOf(dentry));
  if (moved === 0) return -1;
  dget(parent);
  hashName(moved);
  Dentry.name.assign(held, dentry, moved);
  unhash(from);
  relink(held, fromParent, parent, dentry);
  freeName(from);
  dput(fromParent);
  return 0;
}

function relink(held: Held, fromParent: D, toParent: D, dentry: D): void {
  if ((Dentry.flags.peek(dentry) & D_PINNED) === 0) return;
  unlinkChild(held, fromParent, dentry);
  linkChild(held, toParent, dentry);
}
function swapSiblings(held: Held, fromParent: D, toParent: D, dentry: D, target: D): void {
  if ((Dentry.flags.peek(dentry) & D_PINNED) === 0 || fromParent === toParent) return;
  unlinkChild(held, fromParent, dentry);
  unlinkChild(held, toParent, target);
  linkChild(held, toParent, dentry);
  linkChild(held, fromParent, target);
}
