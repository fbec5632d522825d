import { Code } from "./code.ts";
import { TYPE } from "./opcodes.ts";

/** A function type: parameter types and result types. */
export interface Signature {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

interface FunctionBody {
  readonly type: number;
  /** Declarations of the locals beyond the parameters, encoded. */
  readonly locals: Uint8Array;
  readonly code: Code;
  readonly name: string;
}

/**
 * Builds a WebAssembly module that imports the shared memory and the table of units (as "e"."m" and "e"."t") and
 * functions by name, and exports functions. Imports must all be asked for before the first function is added.
 */
export class ModuleBuilder {
  private readonly types: Signature[] = [];
  private readonly imports: { name: string; type: number }[] = [];
  private readonly importIndex = new Map<string, number>();
  private readonly functions: FunctionBody[] = [];

  private readonly maxPages: number;

  /** `maxPages` is the maximum of the memory that will be imported, in 64 KiB pages. */
  constructor(maxPages: number) {
    this.maxPages = maxPages;
  }

  type(signature: Signature): number {
    const known = this.types.indexOf(signature);
    return known >= 0 ? known : this.types.push(signature) - 1;
  }

  /** Function index of an import, declared on first use. */
  import(name: string, signature: Signature): number {
    let index = this.importIndex.get(name);
    if (index === undefined) {
      index = this.imports.push({ name, type: this.type(signature) }) - 1;
      this.importIndex.set(name, index);
    }
    return index;
  }

  importNames(): string[] {
    return this.imports.map((imported) => imported.name);
  }

  /**
   * Adds an exported function; `code` is its body without the closing end, and belongs to the module until that is finished.
   * `locals` are those beyond the parameters, in runs of one type: [count, type]. Returns its function index.
   */
  function(
    name: string,
    signature: Signature,
    locals: ReadonlyArray<readonly [number, number]>,
    code: Code,
  ): number {
    const body = {
      type: this.type(signature),
      locals: localsOf(locals),
      code,
      name,
    };
    return this.imports.length + this.functions.push(body) - 1;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = FINISHED;
    out.reset();
    out.ops([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    const types = section(out, 1);
    out.unsigned(this.types.length);
    for (const { params, results } of this.types) {
      out.byte(0x60);
      out.unsigned(params.length);
      out.ops(params);
      out.unsigned(results.length);
      out.ops(results);
    }
    out.setLength(types);
    const imports = section(out, 2);
    out.unsigned(this.imports.length + 2);
    name(out, "e");
    name(out, "m");
    out.op(0x02, 0x03); // memory, shared with a maximum
    out.unsigned(1);
    out.unsigned(this.maxPages);
    name(out, "e");
    name(out, "t");
    out.op(0x01, TYPE.FUNCREF, 0x00);
    out.unsigned(1);
    for (const imported of this.imports) {
      name(out, "e");
      name(out, imported.name);
      out.byte(0x00);
      out.unsigned(imported.type);
    }
    out.setLength(imports);
    const functions = section(out, 3);
    out.unsigned(this.functions.length);
    for (const body of this.functions) out.unsigned(body.type);
    out.setLength(functions);
    const exports = section(out, 7);
    out.unsigned(this.functions.length);
    this.functions.forEach((body, index) => {
      name(out, body.name);
      out.byte(0x00);
      out.unsigned(this.imports.length + index);
    });
    out.setLength(exports);
    // Branch hinting proposal: offsets count from the start of the function's locals.
    const hints = section(out, 0);
    name(out, "metadata.code.branch_hint");
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
}

/** Where modules are put together: one at a time. */
const FINISHED = new Code();

function localsOf(locals: ReadonlyArray<readonly [number, number]>): Uint8Array {
  const code = new Code(64);
  code.unsigned(locals.length);
  for (const [count, type] of locals) {
    code.unsigned(count);
    code.byte(type);
  }
  return code.bytes.subarray(0, code.length);
}

/** Begins a section; `setLength` of the result ends it. */
function section(out: Code, id: number): number {
  out.byte(id);
  return out.reserveLength();
}

function name(out: Code, text: string): void {
  out.unsigned(text.length);
  for (let i = 0; i < text.length; i++) out.byte(text.charCodeAt(i));
}
