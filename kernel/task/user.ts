/**
 * What each user has, for the limits that are counted by user and not by process (Linux's ucounts). Credentials hold the record of
 * their real user id; whatever is charged to it holds it too, until it is given back. Without memory for a record nothing is counted.
 */
import {
  atomic,
  fixed,
  type Held,
  kfreeRcu,
  locked,
  type Ref,
  spinlock,
  struct,
  tryAlloc,
} from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";

export const User = struct("user", {
  uid: fixed(),
  /** Credentials and charges that keep it. */
  refcount: atomic(),
  /** The next record of the table; the table's lock. */
  next: fixed<Ref<"user"> | 0>(),
  /** Signals queued, and timers that may queue one: RLIMIT_SIGPENDING. */
  pending: atomic(),
  inotifyInstances: atomic(),
  inotifyWatches: atomic(),
  epollWatches: atomic(),
  pipePages: atomic(),
  recordLocks: atomic(),
});
type U = Ref<"user">;
export type UserCount =
  | "pending"
  | "inotifyInstances"
  | "inotifyWatches"
  | "epollWatches"
  | "pipePages"
  | "recordLocks";

const Users = struct("users", { lock: spinlock(96), first: locked<"lock", U | 0>("lock") });
const users = kernelGlobal<Ref<"users">>("users");

/** Once per machine, at boot. */
export function usersInit(): void {
  const ref = tryAlloc(Users);
  if (ref === 0) throw new Error("no memory for the table of users");
  users.init(ref);
}

/** The record of a user id, counted; 0 when memory is short. */
export function userOf(uid: number): U | 0 {
  const table = users.get();
  if (table === 0) return 0;
  const held = Users.lock.lock(table);
  let user: U | 0 = Users.first.get(held, table);
  while (user !== 0 && User.uid.get(user) !== uid) user = User.next.get(user);
  if (user !== 0) User.refcount.add(user, 1);
  else {
    user = tryAlloc(User);
    if (user !== 0) {
      User.uid.init(user, uid);
      User.refcount.init(user, 1);
      User.next.init(user, Users.first.get(held, table));
      Users.first.set(held, table, user);
    }
  }
  Users.lock.unlock(table);
  return user;
}

export function userGet(user: U | 0): U | 0 {
  if (user !== 0) User.refcount.add(user, 1);
  return user;
}

export function userPut(user: U | 0): void {
  if (user === 0) return;
  // Not the last one, as a rule: no lock.
  for (;;) {
    const count = User.refcount.load(user);
    if (count <= 1) break;
    if (User.refcount.cas(user, count, count - 1)) return;
  }
  const table = users.get();
  const held = Users.lock.lock(table);
  const last = User.refcount.decAndTest(user);
  if (last) unlink(held, table, user);
  Users.lock.unlock(table);
  if (last) kfreeRcu(User, user);
}

function unlink(held: Held<"lock">, table: Ref<"users">, user: U): void {
  let at = Users.first.get(held, table) as U;
  if (at === user) {
    Users.first.set(held, table, User.next.get(user));
    return;
  }
  while (User.next.get(at) !== user) at = User.next.get(at) as U;
  User.next.init(at, User.next.get(user));
}

/** Charges `amount` to the user, who then has no more than `most`; false with nothing charged. A charge holds the record. */
export function userCharge(user: U | 0, what: UserCount, amount: number, most: number): boolean {
  if (user === 0) return true;
  if (User[what].add(user, amount) + amount > most) {
    User[what].add(user, -amount);
    return false;
  }
  User.refcount.add(user, 1);
  return true;
}

/** Gives back what was charged at one time. */
export function userUncharge(user: U | 0, what: UserCount, amount: number): void {
  if (user === 0) return;
  User[what].add(user, -amount);
  userPut(user);
}
