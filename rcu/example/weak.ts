/** RcuWeak: a shared cell that finds an object as long as somebody else keeps it. */
import {
  type Arc,
  alloc,
  arcDowngrade,
  arcDrop,
  arcGet,
  arcNew,
  fixed,
  Heap,
  RcuReadScope,
  RcuWeak,
  struct,
} from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const Session = struct("session", { user: fixed() });
function open(user: number): Arc<"session"> {
  const session = alloc(Session);
  Session.user.init(session, user);
  return arcNew(Session, session) as Arc<"session">;
}

const mine = open(7);
const last = new RcuWeak<"session">(arcDowngrade(mine)); // Another thread opens it with { at: last.handle() }.
{
  using scope = new RcuReadScope();
  const session = last.get(scope); // Good in the scope.
  if (session !== 0) console.log(`user ${Session.user.get(session)}`);
  const kept = last.upgrade(scope); // A count: good beyond it.
  if (kept !== 0) {
    console.log(`kept: user ${Session.user.get(arcGet(kept))}`);
    arcDrop(kept);
  }
}
arcDrop(mine);
{
  using scope = new RcuReadScope();
  console.log(`gone: ${last.get(scope) === 0}, ${last.upgrade(scope) === 0}`);
}
const next = open(8);
last.update(arcDowngrade(next));
{
  using scope = new RcuReadScope();
  console.log(`the next one is found: ${last.get(scope) !== 0}`);
}
last.destroy();
arcDrop(next);
heap.detach();
