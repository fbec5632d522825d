import { Bytes } from "./bytes.ts";
import { Code } from "./code.ts";
import { type Func, type Locals, type Signature, TYPE, type TypeIndex, type ValueType } from "./types.ts";

interface FunctionBody {
  readonly type: number;
  /** Declarations of the locals beyond the parameters, encoded. */
  readonly locals: Uint8Array;
  readonly code: Code;
  /** The name under which it is exported; "" keeps it internal. */
  readonly name: string;
}

/** The memory that a module imports with the table of units; its maximum in 64 KiB pages. */
export interface Shared {
  readonly maxPages: number;
}

/**
 * Builds a WebAssembly module that exports functions. It may import the shared memory and the table of units (as "e"."m" and "e"."t") and
 * functions by name. Imports must all be asked for before the first function is added.
 */
export class ModuleBuilder {
  private readonly types: Signature[] = [];
  private readonly imports: { name: string; type: number }[] = [];
  private readonly importIndex = new Map<string, number>();
  private readonly functions: FunctionBody[] = [];

  private readonly shared: Shared | undefined;

  /** Without `shared` the module has neither memory nor table. */
  constructor(shared?: Shared) {
    this.shared = shared;
  }

  type<S extends Signature>(signature: S): TypeIndex<S> {
    const known = this.types.indexOf(signature);
    return (known >= 0 ? known : this.types.push(signature) - 1) as TypeIndex<S>;
  }

  /** Function index of an import, declared on first use. */
  import<S extends Signature>(name: string, signature: S): Func<S> {
    let index = this.importIndex.get(name);
    if (index === undefined) {
      index = this.imports.push({ name, type: this.type(signature) }) - 1;
      this.importIndex.set(name, index);
    }
    return index as Func<S>;
  }

  importNames(): string[] {
    return this.imports.map((imported) => imported.name);
  }

  /**
   * Adds a function whose body `write` writes. It is handed the parameters, and the local variables of the types in `locals`. It is
   * exported under its name, unless that is "".
   */
  function<S extends Signature, const L extends readonly ValueType[]>(
    name: string,
    signature: S,
    locals: L,
    write: (c: Code, params: Locals<S["params"]>, locals: Locals<L>) => void,
  ): Func<S> {
    const code = new Code(256);
    const first = signature.params.length;
    const params = signature.params.map((_, n) => n) as unknown as Locals<S["params"]>;
    write(code, params, locals.map((_, n) => first + n) as unknown as Locals<L>);
    return this.add(name, signature, runsOf(locals), code);
  }

  /**
   * Adds a function of which `code` is the body without the closing end, and belongs to the module until that is finished.
   * `locals` are those beyond the parameters, in runs of one type: [count, type].
   */
  add<S extends Signature>(
    name: string,
    signature: S,
    locals: ReadonlyArray<readonly [number, ValueType]>,
    code: Code,
  ): Func<S> {
    const body = { type: this.type(signature), locals: encodeRuns(locals), code, name };
    return (this.imports.length + this.functions.push(body) - 1) as Func<S>;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = FINISHED;
    out.length = 0;
    out.list([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    this.typeSection(out);
    if (this.shared !== undefined) this.importSection(out, this.shared);
    const functions = section(out, 3);
    out.unsigned(this.functions.length);
    for (const body of this.functions) out.unsigned(body.type);
    out.setLength(functions);
    this.exportSection(out);
    this.hintSection(out);
    const code = section(out, 10);
    out.unsigned(this.functions.length);
    for (const { locals, code: body } of this.functions) {
      out.unsigned(locals.length + body.length + 1);
      out.append(locals);
      out.append(body.bytes, body.length);
      out.byte(0x0b);
    }
    out.setLength(code);
    return out.bytes.slice(0, out.length);
  }

  private typeSection(out: Bytes): void {
    const types = section(out, 1);
    out.unsigned(this.types.length);
    for (const { params, results } of this.types) {
      out.byte(0x60);
      out.unsigned(params.length);
      out.list(params);
      out.unsigned(results.length);
      out.list(results);
    }
    out.setLength(types);
  }

  private importSection(out: Bytes, { maxPages }: Shared): void {
    const imports = section(out, 2);
    out.unsigned(this.imports.length + 2);
    out.name("e");
    out.name("m");
    out.byte(0x02); // a memory...
    out.byte(0x03); // ...shared, with a maximum
    out.unsigned(1);
    out.unsigned(maxPages);
    out.name("e");
    out.name("t");
    out.byte(0x01); // a table of functions...
    out.byte(TYPE.FUNCREF);
    out.byte(0x00); // ...without a maximum
    out.unsigned(1);
    for (const imported of this.imports) {
      out.name("e");
      out.name(imported.name);
      out.byte(0x00);
      out.unsigned(imported.type);
    }
    out.setLength(imports);
  }

  private exportSection(out: Bytes): void {
    const exports = section(out, 7);
    out.unsigned(this.functions.filter(({ name }) => name !== "").length);
    this.functions.forEach(({ name }, index) => {
      if (name === "") return;
      out.name(name);
      out.byte(0x00);
      out.unsigned(this.imports.length + index);
    });
    out.setLength(exports);
  }

  /** Branch hinting proposal: offsets count from the start of the function's locals. */
  private hintSection(out: Bytes): void {
    const hints = section(out, 0);
    out.name("metadata.code.branch_hint");
    const hinted = this.functions.filter((body) => body.code.hints.length > 0);
    out.unsigned(hinted.length);
    for (const body of hinted) {
      out.unsigned(this.imports.length + this.functions.indexOf(body));
      const given = body.code.hints;
      out.unsigned(given.length / 2);
      for (let i = 0; i < given.length; i += 2) {
        out.unsigned(body.locals.length + given[i]!);
        out.unsigned(1);
        out.byte(given[i + 1]!);
      }
    }
    out.setLength(hints);
  }
}

/** Where modules are put together: one at a time. */
const FINISHED = new Bytes();

/** Equal types that follow each other, as the binary format wants them. */
function runsOf(types: readonly ValueType[]): [number, ValueType][] {
  const runs: [number, ValueType][] = [];
  for (const type of types) {
    const last = runs[runs.length - 1];
    if (last?.[1] === type) last[0]++;
    else runs.push([1, type]);
  }
  return runs;
}

function encodeRuns(runs: ReadonlyArray<readonly [number, ValueType]>): Uint8Array {
  const out = new Bytes(64);
  out.unsigned(runs.length);
  for (const [count, type] of runs) {
    out.unsigned(count);
    out.byte(type);
  }
  return out.bytes.subarray(0, out.length);
}

/** Begins a section; `setLength` of the result ends it. */
function section(out: Bytes, id: number): number {
  out.byte(id);
  return out.reserveLength();
}
