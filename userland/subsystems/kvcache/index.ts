/**
 * kvcache: a bounded key-value store behind /dev/kvcache, shared by all processes of a machine.
 *
 * The cache maps keys to values, both byte arrays in the shared heap, and forgets the oldest key when it is full. A `get`
 * takes no lock: it looks the key up and copies the value inside one read scope.
 */
import {
  blob,
  EVICTED,
  FULL,
  kfreeStringRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  stringBytes,
  tryAllocString,
} from "../../../rcu/index.ts";
import {
  type ContextOf,
  copyFromUser,
  copyToUser,
  defineSubsystem,
  E2BIG,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOSPC,
  ENOTTY,
  ERANGE,
  table,
} from "../../index.ts";
import { type Command, KEY_MAX, parseCommand, parseRequest } from "./commands.ts";

/** One write to the device holds a whole command: verb, key and value. */
const VALUE_LIMIT = (1 << 20) - KEY_MAX - 16;

const tables = {
  cache: table.cache({ capacity: "entries", key: blob(), value: blob() }),
  hits: table.counter(),
  misses: table.counter(),
  evictions: table.counter(),
};
const options = {
  /** Most keys that it remembers. */
  entries: 1024,
  /** Most bytes of one value, up to 983 025. */
  valueMax: 65536,
};
type Context = ContextOf<typeof tables, typeof options>;

/** A private copy of the value of a key, or null. Lock-free. */
function get({ tables: { cache, hits, misses } }: Context, key: Uint8Array): Uint8Array | null {
  const scope = rcuReadLock();
  const value = cache.get(scope, key);
  rcuReadUnlock();
  if (value === undefined) misses.add();
  else hits.add();
  return value ?? null;
}

/** 0 or -errno. */
function set(context: Context, key: Uint8Array, value: Uint8Array): number {
  if (value.length > context.options.valueMax) return -E2BIG;
  const done = context.tables.cache.tryInsert(key, value);
  if (done === EVICTED) context.tables.evictions.add();
  return done === FULL ? -ENOSPC : 0;
}

/** Whether the key was there. */
const del = ({ tables: { cache } }: Context, key: Uint8Array): boolean => cache.delete(key);

function run(context: Context, command: Command): Uint8Array | number {
  switch (command.verb) {
    case "get": {
      const value = get(context, command.key);
      if (value === null) return Buffer.from("MISS\n");
      return Buffer.concat([Buffer.from(`HIT ${value.length}\n`), value, Buffer.from("\n")]);
    }
    case "set": {
      const error = set(context, command.key, command.value);
      return error < 0 ? error : Buffer.from("OK\n");
    }
    default:
      return Buffer.from(del(context, command.key) ? "OK\n" : "MISS\n");
  }
}

/** The fields of the three requests: see README.md. */
const KVCACHE_GET = 0xc0184b01;
const KVCACHE_SET = 0xc0184b02;
const KVCACHE_DEL = 0xc0184b03;
const REQUEST_BYTES = 24;

function request(context: Context, command: number, address: number): number {
  const bytes = copyFromUser(address, REQUEST_BYTES);
  if (bytes === null) return -EFAULT;
  const { keyAddress, keyLength, valueAddress, valueLength } = parseRequest(bytes);
  if (keyLength < 1 || keyLength > KEY_MAX) return -EINVAL;
  const key = copyFromUser(keyAddress, keyLength);
  if (key === null) return -EFAULT;
  if (command === KVCACHE_DEL) return del(context, key) ? 0 : -ENOENT;
  if (command === KVCACHE_SET) {
    if (valueLength > context.options.valueMax) return -E2BIG;
    const value = copyFromUser(valueAddress, valueLength);
    return value === null ? -EFAULT : set(context, key, value);
  }
  const value = get(context, key);
  if (value === null) return -ENOENT;
  if (value.length > valueLength) return -ERANGE;
  return copyToUser(valueAddress, value) < 0 ? -EFAULT : value.length;
}

export default defineSubsystem({
  name: "kvcache",
  options,
  tables,
  init(_context, { entries, valueMax }) {
    if (!Number.isInteger(entries) || entries < 1)
      throw new RangeError(`entries=${entries}: give a number of keys, 1 or more`);
    if (!Number.isInteger(valueMax) || valueMax < 0 || valueMax > VALUE_LIMIT)
      throw new RangeError(`valueMax=${valueMax}: give a number of bytes, 0 to ${VALUE_LIMIT}`);
  },
  devices: {
    kvcache: {
      mode: 0o666,
      write(context, file, bytes) {
        // More than one write takes: no value may be so long, and a part of one must not be kept.
        if (file.left > 0) return -E2BIG;
        const command = parseCommand(bytes);
        if (command === null) return -EINVAL;
        const answer = run(context, command);
        if (typeof answer === "number") return answer;
        const text = tryAllocString(answer);
        if (text === 0) return -ENOSPC;
        file.state2 = 0;
        const old = file.exchangeState(text);
        if (old !== 0) kfreeStringRcu(old as Ref<"string">);
        return bytes.length;
      },
      /** The answer to the last command, once. */
      read(_context, file, size) {
        if (file.state === 0) return 0;
        const answer = stringBytes(file.state as Ref<"string">);
        const from = file.state2;
        const part = answer.subarray(from, from + size);
        file.state2 = from + part.length;
        return part;
      },
      ioctl(context, _file, command, argument) {
        const known = [KVCACHE_GET, KVCACHE_SET, KVCACHE_DEL].includes(command >>> 0);
        return known ? request(context, command >>> 0, argument) : -ENOTTY;
      },
      release(_context, file) {
        const answer = file.exchangeState(0);
        if (answer !== 0) kfreeStringRcu(answer as Ref<"string">);
      },
    },
  },
  proc: { read: (context) => describe(context) },
  report: (context) => describe(context),
});

function describe({ tables: { cache, hits, misses, evictions }, options: { entries } }: Context): string {
  return `entries ${cache.size} of ${entries}\nhits ${hits.value}\nmisses ${misses.value}\nevictions ${evictions.value}\n`;
}
