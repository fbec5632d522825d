/** The two forms in which programs ask: lines of text, and the struct of the ioctls. */

export type Command =
  | { readonly verb: "get" | "del"; readonly key: Uint8Array }
  | { readonly verb: "set"; readonly key: Uint8Array; readonly value: Uint8Array };

const SPACE = 32;
const NEWLINE = 10;
/** Most bytes of a key. */
export const KEY_MAX = 0xffff;
const VERBS = ["get", "set", "del"] as const;

/** `get KEY`, `set KEY VALUE`, `del KEY`; one newline at the end does not count. The value may hold any bytes. */
export function parseCommand(bytes: Uint8Array): Command | null {
  const line = bytes.at(-1) === NEWLINE ? bytes.subarray(0, -1) : bytes;
  const verb = VERBS.find((one) => Buffer.from(line.subarray(0, 4)).toString("latin1") === `${one} `);
  if (verb === undefined) return null;
  const rest = line.subarray(4);
  const space = rest.indexOf(SPACE);
  const key = verb === "set" && space >= 0 ? rest.subarray(0, space) : rest;
  if (key.length === 0 || key.length > KEY_MAX || key.includes(SPACE)) return null;
  if (verb !== "set") return { verb, key };
  return { verb, key, value: space < 0 ? new Uint8Array(0) : rest.subarray(space + 1) };
}

/** struct kvcache_request { u64 key; u64 value; u32 key_len; u32 value_len; } */
export function parseRequest(bytes: Uint8Array): {
  keyAddress: number;
  valueAddress: number;
  keyLength: number;
  valueLength: number;
} {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    keyAddress: Number(view.getBigUint64(0, true)),
    valueAddress: Number(view.getBigUint64(8, true)),
    keyLength: view.getUint32(16, true),
    valueLength: view.getUint32(20, true),
  };
}
