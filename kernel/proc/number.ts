/** Numbers that programs write to files of /proc, as text: whatever they write, what comes out is an int in bounds or an error. */
import { EINVAL, ERANGE } from "../uapi/errno.ts";

/** Digits as strtol(3) with base 0 takes them. */
const INTEGER = "[+-]?(?:0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)";
const WHOLE = new RegExp(`^\\s*(${INTEGER})\\s*$`, "i");
const FIRST = new RegExp(`^\\s*(${INTEGER})(?:\\s|$)`, "i");
const INT_MAX = 2n ** 31n - 1n;

function integerOf(digits: string): bigint {
  const bare = digits.replace(/^[+-]/, "");
  const value = BigInt(/^0[0-7]/.test(bare) ? `0o${bare.slice(1)}` : bare);
  return digits.startsWith("-") ? -value : value;
}

const untilNul = (text: string): string => text.replace(/\0.*$/s, "");

/** What an attribute of a process takes: one int of min..max and nothing else. -EINVAL, -ERANGE beyond an int; NaN is never the result. */
export function oneInt(text: string, min: number, max: number): { value: number } | number {
  const digits = WHOLE.exec(untilNul(text))?.[1];
  if (digits === undefined) return -EINVAL;
  const value = integerOf(digits);
  if (value > INT_MAX || value < -INT_MAX - 1n) return -ERANGE;
  return value >= min && value <= max ? { value: Number(value) } : -EINVAL;
}

/** What a parameter of the kernel takes: the first number, from 0 on, and what stands behind it is not looked at. */
export function firstNumber(text: string, min: number, max: number): { value: number } | number {
  const digits = FIRST.exec(untilNul(text))?.[1];
  if (digits === undefined || digits.startsWith("+")) return -EINVAL;
  const value = integerOf(digits);
  return value >= min && value <= max ? { value: Number(value) } : -EINVAL;
}
