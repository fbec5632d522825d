/**
 * Stands for ava in a process that runs the tests of one file after another, to save ava's own start: what our tests of rcu/ use of it.
 * Every test counts, once: the first that fails ends the file.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

type Work = (t: T) => unknown;
interface Registered {
  readonly title: string;
  readonly work: Work;
}
export interface Suite {
  readonly before: Work[];
  readonly beforeEach: Work[];
  readonly tests: Registered[];
  readonly afterEach: Work[];
  readonly after: Work[];
}
const suiteOf = (): Suite => ({ before: [], beforeEach: [], tests: [], afterEach: [], after: [] });
let suite = suiteOf();

/** The suite that has registered itself since the last call. */
export function takeSuite(): Suite {
  const taken = suite;
  suite = suiteOf();
  return taken;
}

interface Expectation {
  readonly message?: string | RegExp | ((message: string) => boolean);
  readonly code?: string | number;
  readonly name?: string;
  readonly instanceOf?: new (...args: never[]) => unknown;
  readonly is?: unknown;
  readonly any?: boolean;
}

class T {
  readonly title: string;
  context: unknown = {};
  readonly teardowns: (() => unknown)[] = [];
  readonly log = (): void => {};
  readonly timeout = (): void => {};
  #planned: number | null = null;
  #made = 0;

  constructor(title: string) {
    this.title = title;
  }
  plan(count: number): void {
    this.#planned = count;
  }
  teardown(work: () => unknown): void {
    this.teardowns.push(work);
  }
  close(): void {
    if (this.#planned !== null && this.#planned !== this.#made)
      assert.fail(`${this.#made} assertions, planned ${this.#planned}`);
  }
  #hold(holds: boolean, message: string | undefined, what: string): boolean {
    this.#made++;
    if (!holds) assert.fail(message === undefined ? what : `${message}: ${what}`);
    return true;
  }
  pass = (): boolean => this.#hold(true, undefined, "");
  fail = (message = "fail"): boolean => this.#hold(false, message, "failed");
  is = (value: unknown, wanted: unknown, message?: string): boolean =>
    this.#hold(Object.is(value, wanted), message, `${String(value)} is not ${String(wanted)}`);
  not = (value: unknown, wanted: unknown, message?: string): boolean =>
    this.#hold(!Object.is(value, wanted), message, `${String(value)} is that`);
  true = (value: unknown, message?: string): boolean => this.is(value, true, message);
  false = (value: unknown, message?: string): boolean => this.is(value, false, message);
  assert = (value: unknown, message?: string): boolean => this.#hold(Boolean(value), message, "not truthy");
  truthy = this.assert;
  falsy = (value: unknown, message?: string): boolean => this.#hold(!value, message, "not falsy");
  deepEqual = (value: unknown, wanted: unknown, message?: string): boolean =>
    this.#hold(isDeepStrictEqual(value, wanted), message, "not deeply equal");
  notDeepEqual = (value: unknown, wanted: unknown, message?: string): boolean =>
    this.#hold(!isDeepStrictEqual(value, wanted), message, "deeply equal");
  like = (value: unknown, wanted: unknown, message?: string): boolean =>
    this.#hold(alike(value, wanted), message, "not alike");
  regex = (value: string, wanted: RegExp, message?: string): boolean =>
    this.#hold(wanted.test(value), message, `${value} does not match ${wanted}`);
  notRegex = (value: string, wanted: RegExp, message?: string): boolean =>
    this.#hold(!wanted.test(value), message, `${value} matches ${wanted}`);

  #thrown(error: unknown, wanted: Expectation | undefined): unknown {
    if (wanted === undefined || wanted === null) return error;
    const { message, code, name } = error as { message: string; code: unknown; name: string };
    if (wanted.instanceOf !== undefined)
      this.#hold(error instanceof wanted.instanceOf, undefined, `threw ${name}: ${message}`);
    if (wanted.is !== undefined) this.is(error, wanted.is);
    if (wanted.code !== undefined) this.is(code, wanted.code, message);
    if (wanted.name !== undefined) this.is(name, wanted.name, message);
    const { message: text } = wanted;
    if (typeof text === "string") this.is(message, text);
    else if (text instanceof RegExp) this.regex(message, text);
    else if (text !== undefined) this.true(text(message), message);
    return error;
  }
  throws = (work: () => unknown, wanted?: Expectation, message?: string): unknown => {
    try {
      work();
    } catch (error) {
      this.#made++;
      return this.#thrown(error, wanted);
    }
    return this.fail(message ?? "did not throw");
  };
  throwsAsync = async (
    work: Promise<unknown> | (() => Promise<unknown>),
    wanted?: Expectation,
    message?: string,
  ): Promise<unknown> => {
    try {
      await (typeof work === "function" ? work() : work);
    } catch (error) {
      this.#made++;
      return this.#thrown(error, wanted);
    }
    return this.fail(message ?? "did not throw");
  };
  notThrows = (work: () => unknown): boolean => {
    work();
    return this.pass();
  };
  notThrowsAsync = async (work: Promise<unknown> | (() => Promise<unknown>)): Promise<boolean> => {
    await (typeof work === "function" ? work() : work);
    return this.pass();
  };
}

function alike(value: unknown, wanted: unknown): boolean {
  if (typeof wanted !== "object" || wanted === null) return Object.is(value, wanted);
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(wanted) && (!Array.isArray(value) || value.length !== wanted.length)) return false;
  return Reflect.ownKeys(wanted).every((key) => alike(Reflect.get(value, key), Reflect.get(wanted, key)));
}

const register = (title: string | Work, work?: Work): void => {
  if (typeof title !== "string" || work === undefined) throw new Error("a test without a title");
  suite.tests.push({ title, work });
};
const hook =
  (which: "before" | "beforeEach" | "afterEach" | "after") =>
  (title: string | Work, work?: Work): void => {
    suite[which].push(typeof title === "string" ? work! : title);
  };
const hooks = {
  before: hook("before"),
  beforeEach: hook("beforeEach"),
  after: Object.assign(hook("after"), { always: hook("after") }),
  afterEach: Object.assign(hook("afterEach"), { always: hook("afterEach") }),
};
const serial = Object.assign((title: string, work: Work) => register(title, work), hooks);
export default Object.assign((title: string, work: Work) => register(title, work), hooks, {
  serial,
  skip: () => {},
});

/** Runs a suite; throws what its first failure threw. `starting` hears of each test. */
export async function runSuite(suite: Suite, starting: (title: string) => void): Promise<void> {
  const common = new T("before");
  for (const work of suite.before) await work(common);
  for (const { title, work } of suite.tests) {
    starting(title);
    const t = new T(title);
    for (const before of suite.beforeEach) await before(t);
    try {
      await work(t);
      t.close();
      for (const after of suite.afterEach) await after(t);
    } finally {
      for (const down of t.teardowns.reverse()) await down();
    }
  }
  for (const work of suite.after) await work(common);
}
