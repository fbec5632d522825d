/** How an exception is told in the kernel log. */
import test from "ava";
import { traceOf } from "../../kernel/oops.ts";

const firstLine = (error: unknown): string => traceOf(error).split("\n")[0]!;

test("the name and the message come first, also where Node.js puts a line of the source before them", (t) => {
  const error = new RangeError("too far");
  t.is(firstLine(error), "RangeError: too far");
  t.true(traceOf(error).includes("oops.test.ts"));
  error.stack = `file:///program.ts:1\n  throw error;\n  ^\n\n${error.stack}`;
  t.is(firstLine(error), "RangeError: too far");
});

test("whatever is thrown can be told", (t) => {
  t.is(traceOf("a string"), "a string");
  t.is(traceOf(undefined), "undefined");
  const without = new Error("no trace");
  delete without.stack;
  t.is(traceOf(without), "Error: no trace");
  const odd = new Error("odd");
  odd.toString = () => {
    throw new Error("in toString");
  };
  t.is(firstLine(odd), "Error: odd");
});
