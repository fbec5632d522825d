/**
 * The same file operations by a WebAssembly program through node:wasi, the system-call layer that Node has for WebAssembly: a loop in
 * wasm around calls of wasi_snapshot_preview1. It knows files only; what stands for the null call is args_sizes_get, which asks for
 * two numbers that the host has ready.
 */
import { createRequire } from "node:module";
import type { Code } from "../riscv64/wasm/code.ts";
import { ModuleBuilder } from "../riscv64/wasm/module.ts";
import { type Func, type I32, type Local, type Signature, signatureOf, TYPE } from "../riscv64/wasm/types.ts";
import type { Rounds } from "./node-fs.ts";

const { I32: i32Type, I64: i64Type } = TYPE;

/** Types as in wasi_snapshot_preview1.witx. */
const CALLS = {
  args_sizes_get: signatureOf([i32Type, i32Type], [i32Type]),
  fd_close: signatureOf([i32Type], [i32Type]),
  fd_pread: signatureOf([i32Type, i32Type, i32Type, i64Type, i32Type], [i32Type]),
  fd_pwrite: signatureOf([i32Type, i32Type, i32Type, i64Type, i32Type], [i32Type]),
  path_filestat_get: signatureOf([i32Type, i32Type, i32Type, i32Type, i32Type], [i32Type]),
  path_open: signatureOf(
    [i32Type, i32Type, i32Type, i32Type, i32Type, i64Type, i64Type, i32Type, i32Type],
    [i32Type],
  ),
} as const satisfies Readonly<Record<string, Signature>>;
type Call = keyof typeof CALLS;

/** Byte addresses: where calls put results, the buffer of reads and writes with its iovec, a path. */
const RESULT = 0;
const STAT = 64;
const IOVEC = 256;
const PATH = 512;
const BLOCK = 65536;
const PAGES = 2;
/** The preopened folder is the first descriptor behind the standard streams. */
const FOLDER = 3;
const RIGHTS_READ_WRITE = (1n << 1n) | (1n << 2n) | (1n << 5n) | (1n << 6n);
const FOLLOW = 1;

interface Wasi {
  readonly wasiImport: Readonly<Record<string, (...args: never[]) => number>>;
  finalizeBindings(instance: object, options: { memory: WebAssembly.Memory }): void;
}
type WasiClass = new (options: object) => Wasi;

/** node:wasi, without the warning that it is experimental; null where Node has none that is new enough. */
function loadWasi(): WasiClass | null {
  const warn = process.emitWarning;
  process.emitWarning = () => {};
  try {
    const { WASI } = createRequire(import.meta.url)("node:wasi") as { WASI: WasiClass };
    return "finalizeBindings" in WASI.prototype ? WASI : null;
  } catch {
    return null;
  } finally {
    process.emitWarning = warn;
  }
}

/** Operations on files in `dir` of the host, which has what fsOperations makes there; null without node:wasi. */
export function wasiOperations(dir: string): Readonly<Record<string, Rounds>> | null {
  const WASI = loadWasi();
  if (WASI === null) return null;
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
  const wasi = new WASI({ version: "preview1", preopens: { "/": dir } });
  const builder = new ModuleBuilder({ maxPages: PAGES });
  addOperations(builder);
  const module = new WebAssembly.Module(builder.finish());
  const instance = new WebAssembly.Instance(module, { e: { m: memory, t: table, ...wasi.wasiImport } });
  wasi.finalizeBindings(instance, { memory });
  const wasm = instance.exports as unknown as Record<
    "null" | "file" | "open" | "stat" | "openFile",
    (n: number, arg: number) => number
  >;
  const bytes = new Uint8Array(memory.buffer);
  const words = new Int32Array(memory.buffer);
  const putPath = (path: string): number => {
    const encoded = new TextEncoder().encode(path);
    bytes.set(encoded, PATH);
    return encoded.length;
  };
  const checked = (errors: number): void => {
    if (errors !== 0) throw new Error(`node:wasi: error ${errors}`);
  };
  const inOut = (size: number): Rounds => {
    let fd = -1;
    return (n) => {
      if (fd < 0) fd = wasm.openFile(0, putPath("f"));
      words[IOVEC / 4] = BLOCK;
      words[IOVEC / 4 + 1] = size;
      checked(wasm.file(n, fd));
    };
  };
  return {
    null: (n) => checked(wasm.null(n, 0)),
    file1: inOut(1),
    file64k: inOut(65536),
    open: (n) => checked(wasm.open(n, putPath("f"))),
    stat1: (n) => checked(wasm.stat(n, putPath("f"))),
    stat8: (n) => checked(wasm.stat(n, putPath("d/d/d/d/d/d/f"))),
  };
}

/** (rounds, descriptor or length of the path) -> all error numbers, or-ed: 0. */
const ROUNDS = signatureOf([i32Type, i32Type], [i32Type]);

/** Adds a function for each operation: it does the rounds. And openFile, which returns the descriptor. */
function addOperations(builder: ModuleBuilder): void {
  const imports = new Map<Call, number>();
  for (const name of Object.keys(CALLS) as Call[]) imports.set(name, builder.import(name, CALLS[name]));
  const imported = <N extends Call>(name: N) => imports.get(name)! as Func<(typeof CALLS)[N]>;

  /** `round` writes the calls of a round, and hands each of their error numbers to `note`. */
  const add = (name: string, round: (c: Code, arg: Local<I32>, note: (error: I32) => void) => void) =>
    builder.function(name, ROUNDS, [i32Type], (c, [rounds, arg], [errors]) => {
      const { i32 } = c;
      c.loop((again) => {
        round(c, arg, (error) => c.set(errors, i32.or(error, c.get(errors))));
        c.brIf(again, c.tee(rounds, i32.sub(c.get(rounds), 1)));
      });
      c.get(errors);
    });
  const openPath = (c: Code, bytes: Local<I32>): I32 => {
    const { i32, i64 } = c;
    const where = [i32.const(FOLDER), i32.const(FOLLOW), i32.const(PATH), c.get(bytes)] as const;
    const how = [i32.const(0), i64.const(RIGHTS_READ_WRITE), i64.const(0), i32.const(0)] as const;
    return c.call(imported("path_open"), ...where, ...how, i32.const(RESULT));
  };

  add("null", (c, _arg, note) =>
    note(c.call(imported("args_sizes_get"), c.i32.const(RESULT), c.i32.const(RESULT + 4))),
  );
  add("file", (c, fd, note) => {
    const { i32, i64 } = c;
    for (const name of ["fd_pwrite", "fd_pread"] as const) {
      const block = [c.get(fd), i32.const(IOVEC), i32.const(1)] as const;
      note(c.call(imported(name), ...block, i64.const(0), i32.const(RESULT)));
    }
  });
  add("open", (c, bytes, note) => {
    note(openPath(c, bytes));
    note(c.call(imported("fd_close"), c.i32.load(c.i32.const(RESULT))));
  });
  add("stat", (c, bytes, note) => {
    const { i32 } = c;
    const where = [i32.const(FOLDER), i32.const(FOLLOW), i32.const(PATH), c.get(bytes)] as const;
    note(c.call(imported("path_filestat_get"), ...where, i32.const(STAT)));
  });
  builder.function("openFile", ROUNDS, [], (c, [, bytes]) => {
    c.drop(openPath(c, bytes));
    c.i32.load(c.i32.const(RESULT));
  });
}
