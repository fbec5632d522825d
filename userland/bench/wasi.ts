/**
 * The same file operations by a WebAssembly program through node:wasi, the system-call layer that Node has for WebAssembly: a loop in
 * wasm around calls of wasi_snapshot_preview1. It knows files only; what stands for the null call is args_sizes_get, which asks for
 * two numbers that the host has ready.
 */
import { createRequire } from "node:module";
import { Code } from "../riscv64/wasm/code.ts";
import { ModuleBuilder, type Signature } from "../riscv64/wasm/module.ts";
import { CTL, I32, TYPE } from "../riscv64/wasm/opcodes.ts";
import type { Rounds } from "./node-fs.ts";

const i32s = (count: number): number[] => Array(count).fill(TYPE.I32);
const returning = (...params: number[]): Signature => ({ params, results: [TYPE.I32] });

/** Types as in wasi_snapshot_preview1.witx. */
const CALLS = {
  args_sizes_get: returning(...i32s(2)),
  fd_close: returning(TYPE.I32),
  fd_pread: returning(...i32s(3), TYPE.I64, TYPE.I32),
  fd_pwrite: returning(...i32s(3), TYPE.I64, TYPE.I32),
  path_filestat_get: returning(...i32s(5)),
  path_open: returning(...i32s(5), TYPE.I64, TYPE.I64, ...i32s(2)),
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
  const builder = new ModuleBuilder(PAGES);
  const imports = new Map<Call, number>();
  for (const name of Object.keys(CALLS) as Call[]) imports.set(name, builder.import(name, CALLS[name]));
  const loops = {
    null: roundsOf((code, call) => {
      code.i32(RESULT);
      code.i32(RESULT + 4);
      call("args_sizes_get");
    }),
    file: roundsOf((code, call) => {
      for (const name of ["fd_pwrite", "fd_pread"] as const) {
        code.get(1);
        code.i32(IOVEC);
        code.i32(1);
        code.i64(0);
        code.i32(RESULT);
        call(name);
      }
    }),
    open: roundsOf((code, call) => {
      openPath(code, call);
      code.i32(RESULT);
      code.memory(I32.LOAD);
      call("fd_close");
    }),
    stat: roundsOf((code, call) => {
      code.i32(FOLDER);
      code.i32(FOLLOW);
      code.i32(PATH);
      code.get(1);
      code.i32(STAT);
      call("path_filestat_get");
    }),
  } as const;
  function roundsOf(round: (code: Code, call: (name: Call) => void) => void): Code {
    const code = new Code();
    const again = code.loop();
    round(code, (name) => {
      code.call(imports.get(name)!);
      code.get(2);
      code.op(I32.OR);
      code.set(2);
    });
    code.get(0);
    code.i32(1);
    code.op(I32.SUB);
    code.tee(0);
    code.brIf(again);
    code.end();
    code.get(2);
    return code;
  }
  // (rounds, descriptor or length of the path) -> all error numbers, or-ed: 0.
  for (const [name, code] of Object.entries(loops))
    builder.function(name, returning(TYPE.I32, TYPE.I32), [[1, TYPE.I32]], code);
  const opening = new Code();
  openPath(opening, (name) => opening.call(imports.get(name)!));
  opening.op(CTL.DROP);
  opening.i32(RESULT);
  opening.memory(I32.LOAD);
  builder.function("openFile", returning(TYPE.I32, TYPE.I32), [], opening);

  const module = new WebAssembly.Module(builder.finish());
  const instance = new WebAssembly.Instance(module, { e: { m: memory, t: table, ...wasi.wasiImport } });
  wasi.finalizeBindings(instance, { memory });
  const wasm = instance.exports as unknown as Record<
    keyof typeof loops | "openFile",
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

  /** Opens for reading and writing; the path's length is the second parameter. */
  function openPath(code: Code, call: (name: Call) => void): void {
    code.i32(FOLDER);
    code.i32(FOLLOW);
    code.i32(PATH);
    code.get(1);
    code.i32(0);
    code.i64(RIGHTS_READ_WRITE);
    code.i64(0);
    code.i32(0);
    code.i32(RESULT);
    call("path_open");
  }
}
