import test, { type ExecutionContext } from "ava";
import { RcuHashMap, UPDATED, type Value } from "../../../rcu/index.ts";
import { Arena } from "./arena.ts";
import { mapHolds } from "./keyed.ts";

/** Updates by taking the key out and putting it in again: for a moment a reader finds none. */
class Reinserting extends RcuHashMap<Value, Value> {
  override tryInsert(key: Value, value: Value): number {
    const there = this.delete(key);
    if (there) for (const end = performance.now() + 0.2; performance.now() < end; );
    const done = super.tryInsert(key, value);
    return there ? UPDATED : done;
  }
}

/** Forgets to remove from the eighth entry on. */
class Keeping extends RcuHashMap<Value, Value> {
  override delete(key: Value): boolean {
    return this.size > 7 || super.delete(key);
  }
}

async function caught(
  t: ExecutionContext,
  Planted: typeof RcuHashMap<Value, Value>,
  what: RegExp,
): Promise<void> {
  const arena = await Arena.open(false);
  const error = t.throws(() => mapHolds(arena, "int", "int", (options) => new Planted(options), 100));
  t.regex(error.message, /seed: -?\d+/);
  t.regex(error.message, /Counterexample: \[/);
  t.regex(error.message, what);
  await arena.close();
}

test.serial(
  "a map that updates by reinserting is caught by its readers; the commands are shrunk, the seed printed",
  (t) =>
    caught(
      t,
      Reinserting,
      /a reader saw no (key|entry) \d+, (which is only being updated|though it stays)|no entry \d+ in a walk/,
    ),
);

test.serial("a map that forgets to remove is caught by its model", (t) =>
  caught(t, Keeping, /size: \d+, not \d+|insert: 2, not 1|key \d+/),
);
