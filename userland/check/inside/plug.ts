/** Subsystems in scenarios: their tables and handlers, without a machine around them. */

import { isSubsystem, parseOptions, type Subsystem } from "../../../kernel/subsystem/define.ts";
import { isStruct, type TableSpec } from "../../../kernel/subsystem/table.ts";
import {
  alloc,
  atomic,
  callRcu,
  defineReclaimer,
  defineReleaser,
  queueRelease,
  type Ref,
  struct,
} from "../../../rcu/index.ts";

/** What `plug` gives to a scenario: spread it into the literal, or call both from setup and open of your own. */
export interface Plugged {
  /** Makes the tables and runs init. Returns their references. */
  setup(): readonly number[];
  /** The context that handlers get first. */
  open(tables: readonly number[]): PluggedContext;
}
/** A subsystem's context in a scenario. `wake`, `notify` and `log` do nothing. */
export interface PluggedContext {
  readonly name: string;
  readonly options: Readonly<Record<string, string | number | boolean>>;
  // biome-ignore lint/suspicious/noExplicitAny: tables have the types of the subsystem's literal, which its value does not tell.
  readonly tables: any;
  readonly cpu: number;
  now(): number;
  log(text: string): void;
  callRcu(name: string, arg: number): void;
  queueRelease(name: string, arg: number): void;
  wake(device: string): void;
  notify(path: string): void;
}

/** Plugs a subsystem into a scenario, with options as `--subsystem MODULE?NAME=VALUE` gives them. Throws TypeError. */
export function plug(
  subsystem: Subsystem,
  options: Readonly<Record<string, string | number | boolean>> = {},
): Plugged {
  if (!isSubsystem(subsystem)) throw new TypeError("plug(...): give what defineSubsystem returned");
  const given = parseOptions(subsystem, options);
  const specs = Object.entries(subsystem.tables ?? {});
  let current: PluggedContext | null = null;
  const reclaimers = new Map(
    Object.entries(subsystem.reclaimers ?? {}).map(([name, run]) => [
      name,
      defineReclaimer(`subsystem ${subsystem.name}/${name}`, (arg: number) => run(current as never, arg)),
    ]),
  );
  const releasers = new Map(
    Object.entries(subsystem.releasers ?? {}).map(([name, run]) => [
      name,
      defineReleaser(`subsystem ${subsystem.name}/${name}`, (arg: number) =>
        run(current as never, arg, null),
      ),
    ]),
  );
  const found = <V>(map: ReadonlyMap<string, V>, what: string, name: string): V => {
    const entry = map.get(name);
    if (entry === undefined) throw new Error(`subsystem ${subsystem.name} has no ${what} ${name}`);
    return entry;
  };
  const contextOf = (tables: Readonly<Record<string, unknown>>): PluggedContext =>
    (current = {
      name: subsystem.name,
      options: given,
      tables,
      cpu: 0,
      now: () => performance.now() * 1e6,
      log() {},
      callRcu: (name, arg) => callRcu(found(reclaimers, "reclaimer", name), arg),
      queueRelease: (name, arg) => queueRelease(found(releasers, "releaser", name), arg),
      wake() {},
      notify() {},
    });
  return {
    setup() {
      const tables = specs.map(([key, spec]) => {
        if (isStruct(spec)) return [key, spec, 0] as const;
        const made = (spec as TableSpec).create(given, key);
        return [key, made, (spec as TableSpec).refOf(made)] as const;
      });
      const context = contextOf(Object.fromEntries(tables.map(([key, made]) => [key, made])));
      subsystem.init?.(context as never, given as never);
      return tables.map(([, , ref]) => ref);
    },
    open(refs) {
      return contextOf(
        Object.fromEntries(
          specs.map(([key, spec], n) => [key, isStruct(spec) ? spec : (spec as TableSpec).open(refs[n]!)]),
        ),
      );
    },
  };
}

/** What a hook is told of a task. */
export interface FakeTask {
  readonly ref: number;
  readonly tid: number;
  readonly pid: number;
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly comm: string;
  readonly startTime: number;
  readonly exitStatus: number;
}
/** A task as hooks see it. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for a TaskView of the kernel.
export const fakeTask = (task: Partial<FakeTask> = {}): any => ({
  ref: 0,
  tid: 1,
  pid: 1,
  uid: 0,
  euid: 0,
  gid: 0,
  comm: "program",
  startTime: 0,
  exitStatus: 0,
  ...task,
});

/** What a hook is told of a call. */
export interface FakeCall {
  readonly nr: number;
  readonly name: string;
  readonly args: readonly number[];
  /** What `paths()` gives. */
  readonly paths: readonly string[];
  /** What `string(index)` gives. */
  readonly strings: Readonly<Record<number, string>>;
}
/** A call as hooks see it. */
export const fakeCall = ({
  nr = 0,
  name = "call",
  args = [],
  paths = [],
  strings = {},
}: Partial<FakeCall>): // biome-ignore lint/suspicious/noExplicitAny: it stands for a CallView of the kernel.
any => ({
  nr,
  name,
  args,
  pathArguments: paths,
  paths: () => [...paths],
  string: (index: number) => strings[index] ?? null,
});

const Opened = struct("check_file", { state: atomic(), state2: atomic() });

/** An open device file, which threads may share: made by setup without an argument, found again by its `ref`. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for an OpenFile of the kernel.
export function fakeFile(at: number = alloc(Opened)): any {
  const ref = at as Ref<"check_file">;
  return {
    ref: at,
    position: 0,
    left: 0,
    nonblocking: false,
    get state() {
      return Opened.state.load(ref);
    },
    set state(value: number) {
      Opened.state.store(ref, value);
    },
    get state2() {
      return Opened.state2.load(ref);
    },
    set state2(value: number) {
      Opened.state2.store(ref, value);
    },
    exchangeState: (value: number) => Opened.state.exchange(ref, value),
  };
}
