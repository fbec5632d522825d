/**
 * The modules that every engine starts with, made when dist/ is built: the same code would write the same bytes in each process, and
 * takes most of a CPU's start because it runs once and cold. In the source tree the modules are made when they are needed.
 */

/** Base64 by name. build.mjs replaces this table. */
export const PREBUILT: Readonly<Record<string, string>> = {};

/** The bytes of the module `name`: prebuilt, else what `build` builds. */
export function prebuilt(name: string, build: () => Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const text = PREBUILT[name];
  return text === undefined ? build() : Buffer.from(text, "base64");
}
