/** The forms of a call: alone, or with what undoes it; to succeed, or to fail with an errno that is known. */
import type { Steps } from "../../program.ts";
import type { MixWorld } from "./world.ts";

export interface MixCall {
  run(world: MixWorld): Steps<number>;
  /** What it always fails with in this form; absent: it succeeds. */
  readonly ends?: number;
  /** A form that fails with `errno`, for the share of calls that failed in the summary. */
  readonly failing?: { readonly errno: number; run(world: MixWorld): Steps<number> };
}

export type Args = (world: MixWorld) => readonly number[];
export type Failing = readonly [errno: number, args: Args];

export const direct = (name: string, args: Args) => (world: MixWorld) => world.sys.call(name, ...args(world));
export const failing = (name: string, [errno, args]: Failing) => ({ errno, run: direct(name, args) });

/** The call alone. */
export const plain = (name: string, args: Args = () => [], fails?: Failing): [string, MixCall] => [
  name,
  { run: direct(name, args), ...(fails === undefined ? {} : { failing: failing(name, fails) }) },
];

/** The call, then others that undo it; `undo` gets its result. */
export const undone = (
  name: string,
  args: Args,
  undo: (world: MixWorld, result: number) => Steps<unknown>,
  fails?: Failing,
): [string, MixCall] => {
  const call = direct(name, args);
  return [
    name,
    {
      *run(world) {
        const result = yield* call(world);
        if (result >= 0) yield* undo(world, result);
        return result;
      },
      ...(fails === undefined ? {} : { failing: failing(name, fails) }),
    },
  ];
};

/** The call makes a descriptor, which is closed. */
export const opens = (name: string, args: Args): [string, MixCall] =>
  undone(name, args, (world, fd) => world.also("close", fd));
