/** Options are checked before anything is done: a name that does not exist and a value of another type are errors that say so. */

/** What a value must be; the text stands in the message. */
export interface OptionType {
  readonly text: string;
  readonly is: (value: unknown) => boolean;
}

const typed = (text: string, type: string): OptionType => ({ text, is: (value) => typeof value === type });
export const aNumber = typed("a number", "number");
export const aString = typed("a string", "string");
export const aBoolean = typed("true or false", "boolean");
export const aFunction = typed("a function", "function");
export const anObject: OptionType = {
  text: "an object",
  is: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};
/** Anything: whoever uses the value checks it. */
export const anything: OptionType = { text: "anything", is: () => true };
export const anArray = (text: string): OptionType => ({ text, is: Array.isArray });

/** Each option's name and type. */
export type OptionTypes<T> = { readonly [K in keyof Required<T>]: OptionType };

/** What is wrong with `options`, in one line; null if nothing is. An option that is undefined counts as not given. */
export function optionMistake<T>(what: string, options: unknown, types: OptionTypes<T>): string | null {
  if (!anObject.is(options)) return `${what}: ${show(options)} is not an object of options`;
  for (const [name, value] of Object.entries(options as object)) {
    if (!Object.hasOwn(types, name)) {
      const near = nearest(name, Object.keys(types));
      return `${what}: there is no option ${name}${near === null ? "" : `; did you mean ${near}?`}`;
    }
    const type = types[name as keyof T];
    if (value !== undefined && !type.is(value)) return `${what}: ${name} ${show(value)} is not ${type.text}`;
  }
  return null;
}

/** A text that fits in a message. */
export const shortened = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}...` : text);

/** A value as a message shows it: short, and never a throw of its own. */
function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (Array.isArray(value)) return "[...]";
  if (typeof value === "object" && value !== null) return "{...}";
  return typeof value === "function" ? "a function" : String(value);
}

/** The name that was probably meant: at most two letters away, or null. */
function nearest(name: string, names: readonly string[]): string | null {
  const [best] = names
    .map((other) => ({ other, far: distance(name.toLowerCase(), other.toLowerCase()) }))
    .filter(({ far }) => far <= Math.min(2, name.length - 1))
    .sort((a, b) => a.far - b.far);
  return best?.other ?? null;
}

/** Levenshtein's distance: letters to insert, delete or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const above = row;
    row = [i];
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
  }
  return row[b.length]!;
}
