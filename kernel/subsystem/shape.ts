/**
 * Whether a literal has the shape of a subsystem. Node runs TypeScript without checking it, and a hook with a wrong name would
 * never be called: so it is looked at when the module is loaded.
 */
import { isStruct } from "./table.ts";

type Literal = Readonly<Record<string, unknown>>;

const HOOKS = [
  "taskCreate",
  "taskExec",
  "taskExit",
  "syscallEnter",
  "syscallExit",
  "contextSwitch",
  "gracePeriod",
  "mount",
  "safePoint",
];
const DEVICE = ["mode", "open", "read", "write", "poll", "ioctl", "size", "mmap", "release"];
const FILE = ["mode", "read", "write", "pollable"];

const isObject = (value: unknown): value is Literal => typeof value === "object" && value !== null;

/** What is wrong, naming the property; or null. */
export function wrongShape(literal: Literal): string | null {
  for (const [name, value] of Object.entries(literal)) {
    const check = Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : undefined;
    if (check === undefined) return unknown(name, "", Object.keys(PROPERTIES));
    const wrong = value === undefined ? null : check(value, name);
    if (wrong !== null) return wrong;
  }
  return null;
}

type CheckShape = (value: unknown, at: string) => string | null;

const unknown = (name: string, where: string, known: readonly string[]): string =>
  `there is no ${where === "" ? name : `${where}.${name}`}; there are ${known.join(", ")}`;

const isFunction: CheckShape = (value, at) =>
  typeof value === "function" ? null : `${at} is not a function`;

/** An object whose properties are of the known names. */
const only =
  (known: readonly string[], check: CheckShape): CheckShape =>
  (value, at) => {
    if (!isObject(value)) return `${at} is not an object`;
    for (const [name, member] of Object.entries(value)) {
      if (!known.includes(name)) return unknown(name, at, known);
      const wrong = member === undefined ? null : check(member, `${at}.${name}`);
      if (wrong !== null) return wrong;
    }
    return null;
  };
/** An object with properties of any name. */
const every =
  (check: CheckShape): CheckShape =>
  (value, at) => {
    if (!isObject(value)) return `${at} is not an object`;
    for (const [name, member] of Object.entries(value)) {
      const wrong = check(member, `${at}.${name}`);
      if (wrong !== null) return wrong;
    }
    return null;
  };

const member: CheckShape = (value, at) => {
  if (at.endsWith(".mode"))
    return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0o777
      ? null
      : `${at} is not permission bits, 0 to 0o777`;
  if (at.endsWith(".pollable")) return typeof value === "boolean" ? null : `${at} is not true or false`;
  return isFunction(value, at);
};
const file = only(FILE, member);

const isTable: CheckShape = (value, at) => {
  if (
    isObject(value) &&
    (isStruct(value as never) || (isFunction(value.create, "") ?? isFunction(value.open, "")) === null)
  )
    return null;
  return `${at} is not a table: give table.map(...) and the like, or a struct`;
};

const isOption: CheckShape = (value, at) =>
  ["number", "boolean", "string"].includes(typeof value)
    ? null
    : `${at} is not a default: give a string, a number, true or false`;

const isCall: CheckShape = (value, at) =>
  isObject(value) &&
  typeof value.name === "string" &&
  Array.isArray(value.args) &&
  typeof value.handler === "function"
    ? null
    : `${at} is not what syscall({ nr, name, args, handler }) returns`;

const PROPERTIES: Readonly<Record<string, CheckShape>> = {
  name: () => null,
  options: every(isOption),
  tables: every(isTable),
  init: isFunction,
  exit: isFunction,
  syscalls: (value, at) =>
    typeof value === "function"
      ? null
      : Array.isArray(value)
        ? every(isCall)(value, at)
        : `${at} is neither an array nor a function`,
  devices: every(only(DEVICE, member)),
  proc: file,
  sys: every(file),
  hooks: only(HOOKS, isFunction),
  reclaimers: every(isFunction),
  releasers: every(isFunction),
  report: isFunction,
  failClosed: (value, at) => (typeof value === "boolean" ? null : `${at} is not true or false`),
};
