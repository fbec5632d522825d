/**
 * kvcache: a bounded key-value store behind /dev/kvcache, shared by all processes of a machine.
 *
 * The cache maps the hash of a key to one heap string that holds key and value, and forgets the oldest when it is full. A
 * `get` takes no lock: it looks the string up, compares the key and copies the value, all inside one read scope.
 */
import {
  allocString,
  EVICTED,
  FULL,
  hashBytes,
  kfreeStringRcu,
  type Ref,
  rcuReadLock,
  rcuReadUnlock,
  stringBytes,
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
import { type Command, parseCommand, parseRequest } from "./commands.ts";

/** A record: two bytes of key length, the key, the value. */
const HEAD = 2;

const tables = {
  cache: table.cache({ capacity: "entries", drop: (record) => kfreeStringRcu(record as Ref<"string">) }),
  hits: table.counter(),
  misses: table.counter(),
  evictions: table.counter(),
};
const options = {
  /** Most keys that it remembers. */
  entries: 1024,
  /** Most bytes of one value. */
  valueMax: 65536,
};
type Context = ContextOf<typeof tables, typeof options>;

/** The value of a key, or null. Lock-free. */
function get(context: Context, key: Uint8Array): Uint8Array | null {
  const scope = rcuReadLock();
  const record = context.tables.cache.get(scope, hashBytes(key));
  // A private copy: the record may be replaced as soon as the scope closes.
  const bytes = record === undefined ? null : stringBytes(record as Ref<"string">);
  rcuReadUnlock();
  const found = bytes !== null && isOf(bytes, key);
  if (found) context.tables.hits.add();
  else context.tables.misses.add();
  return found ? bytes.subarray(HEAD + key.length) : null;
}

function isOf(record: Uint8Array, key: Uint8Array): boolean {
  if (record[0]! + record[1]! * 256 !== key.length) return false;
  return key.every((byte, index) => record[HEAD + index] === byte);
}

/** 0 or -errno. */
function set(context: Context, key: Uint8Array, value: Uint8Array): number {
  if (value.length > context.options.valueMax) return -E2BIG;
  const bytes = new Uint8Array(HEAD + key.length + value.length);
  bytes[0] = key.length;
  bytes[1] = key.length >> 8;
  bytes.set(key, HEAD);
  bytes.set(value, HEAD + key.length);
  const record = allocString(bytes);
  if (record === 0) return -ENOSPC;
  const done = context.tables.cache.tryInsert(hashBytes(key), record);
  if (done === FULL) {
    kfreeStringRcu(record);
    return -ENOSPC;
  }
  if (done === EVICTED) context.tables.evictions.add();
  return 0;
}

/** Whether the key was there. */
function del(context: Context, key: Uint8Array): boolean {
  return get(context, key) !== null && context.tables.cache.delete(hashBytes(key));
}

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
  if (keyLength < 1 || keyLength > 0xffff) return -EINVAL;
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
  devices: {
    kvcache: {
      mode: 0o666,
      write(context, file, bytes) {
        const command = parseCommand(bytes);
        if (command === null) return -EINVAL;
        const answer = run(context, command);
        if (typeof answer === "number") return answer;
        const text = allocString(answer);
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
