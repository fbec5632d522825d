/**
 * ObjectReleaser: counted ownership of an object whose cleanup needs the context of a safe point. Whoever drops the last
 * hold may be deep inside something else; the release runs later, with the context that drainReleases is given.
 */
import { RcuUsageError } from "./error.ts";
import { queueObject, type Releasable } from "./release.ts";

/**
 * Owns a Releasable (of this thread: objects do not cross threads). Each hold is dropped once, by drop() or `using`; the
 * last one queues object.release(context). (Starnix: ObjectReleaser.)
 */
export class ObjectReleaser<C, T extends Releasable<C>> implements Disposable {
  readonly #shared: { readonly object: T; holds: number };
  #held = true;

  /** The first hold. */
  constructor(object: T);
  constructor(shared: T | { readonly object: T; holds: number }, again?: true) {
    this.#shared = again === true ? (shared as never) : { object: shared as T, holds: 1 };
  }

  /** The object. Throws RcuUsageError after this hold was dropped. */
  get object(): T {
    if (!this.#held) throw new RcuUsageError("ERR_RCU_SCOPE_PAIRING", "ObjectReleaser used after drop()");
    return this.#shared.object;
  }

  /** Another hold of the same object. */
  clone(): ObjectReleaser<C, T> {
    void this.object;
    this.#shared.holds++;
    const again = ObjectReleaser as new (shared: unknown, again: true) => ObjectReleaser<C, T>;
    return new again(this.#shared, true);
  }

  /** Drops this hold; the last one queues the release. Throws RcuUsageError the second time. */
  drop(): void {
    void this.object;
    this.#held = false;
    if (--this.#shared.holds === 0) queueObject(this.#shared.object);
  }

  /** At the end of a `using` block: as drop(), unless that was called. */
  [Symbol.dispose](): void {
    if (this.#held) this.drop();
  }
}
