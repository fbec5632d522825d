/** The read side by itself: what entering and leaving costs, and one dereference in between. */
import { type RcuScope, type Ref, rcu, struct, tryAlloc } from "../../../rcu/index.ts";
import { need } from "../world.ts";
import type { TableBench } from "./table.ts";

const none = (): number => 0;

export const readScope: TableBench = {
  name: "enter + exit",
  what: "an empty read section",
  sizes: [1],
  deferredBytes: 0,
  build: () => [],
  open: () => ({ bare: "empty", read: none, write: none }),
};

const Link = struct("bench_link", { next: rcu("bench_link") });
/** The loop is in a scope, or behind a lock. */
const SCOPE = 1 as RcuScope;

/** A ring of these, each step depending on the one before. */
const LINKS = 64;

export const dereference: TableBench = {
  name: "enter + dereference + exit",
  what: "a read section with one pointer followed in it",
  sizes: [1],
  deferredBytes: 0,
  build() {
    const ring = Array.from({ length: LINKS }, () => need(tryAlloc(Link)) as Ref<"bench_link">);
    ring.forEach((link, n) => {
      Link.next.init(link, ring[(n + 1) % LINKS]!);
    });
    return [ring[0]!];
  },
  open([first]) {
    let at = first as Ref<"bench_link">;
    return {
      bare: "read",
      read: () => {
        at = Link.next.deref(SCOPE, at) as Ref<"bench_link">;
        return at;
      },
      write: none,
    };
  },
};

export const READ_SIDES: readonly TableBench[] = [readScope, dereference];
