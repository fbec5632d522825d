/**
 * What must not compile: `npm run typecheck` reads this file, and complains where an error that is expected does not come.
 * It is not a test file; nothing runs it.
 */
import { fixed, locked, rcu, rcuReadLock, rcuReadUnlock, spinlock, struct, text } from "../../rcu/index.ts";
import { defineSubsystem, table } from "../../userland/index.ts";

const Route = struct("rules_route", { metric: fixed() });
const Routes = struct("rules_routes", { lock: spinlock(), best: rcu("rules_route"), count: locked("lock") });
const Other = struct("rules_other", { guard: spinlock() });

export default defineSubsystem({
  name: "rules",
  options: { limit: 10 },
  tables: {
    names: table.hashMap({ key: text() }),
    routes: table.one(Routes),
    other: table.one(Other),
  },
  hooks: {
    taskExit({ tables: { names, routes, other }, options }, task) {
      const scope = rcuReadLock();
      const count: number | undefined = names.get(scope, "a");
      // @ts-expect-error A look at a table needs a scope.
      names.get("a");
      // @ts-expect-error The keys are strings.
      names.get(scope, count);
      // @ts-expect-error So are dereferences.
      Routes.best.deref(routes);
      const best = Routes.best.deref(scope, routes);
      // @ts-expect-error It may be NULL.
      Route.metric.get(best);
      if (best !== 0) Route.metric.get(best);
      // @ts-expect-error A constant field cannot be set.
      if (best !== 0) Route.metric.set(best, 1);
      rcuReadUnlock();
      // @ts-expect-error To assign, hold a lock.
      Routes.best.assign(scope, routes, 0);
      // @ts-expect-error A reference belongs to its struct.
      Routes.lock.lock(other);
      const guard = Other.guard.lock(other);
      // @ts-expect-error Another struct's lock does not protect this field.
      Routes.count.set(guard, routes, 1);
      Other.guard.unlock(other);
      const held = Routes.lock.lock(routes);
      Routes.count.set(held, routes, options.limit);
      Routes.lock.unlock(routes);
      // @ts-expect-error There is no such option.
      task.tid satisfies typeof options.limits;
    },
    // @ts-expect-error A hook cannot wait.
    syscallEnter: async () => 0,
  },
});
