import { Code } from "./code.ts";
import { TYPE } from "./opcodes.ts";

/** A function type: parameter types and result types. */
export interface Signature {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

interface FunctionBody {
  readonly type: number;
  /** Locals beyond the parameters, in runs of one type. */
  readonly locals: ReadonlyArray<readonly [count: number, type: number]>;
  readonly code: Uint8Array;
  readonly hints: readonly number[];
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

  /** Adds an exported function; `code` is its body without the closing end. Returns its function index. */
  function(
    name: string,
    signature: Signature,
    locals: ReadonlyArray<readonly [number, number]>,
    code: Code,
  ): number {
    const body = {
      type: this.type(signature),
      locals,
      code: code.bytes.slice(0, code.length),
      hints: [...code.hints],
      name,
    };
    return this.imports.length + this.functions.push(body) - 1;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = new Code();
    out.op(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
    section(out, 1, (part) => {
      part.unsigned(this.types.length);
      for (const { params, results } of this.types) {
        part.byte(0x60);
        part.unsigned(params.length);
        part.op(...params);
        part.unsigned(results.length);
        part.op(...results);
      }
    });
    section(out, 2, (part) => {
      part.unsigned(this.imports.length + 2);
      name(part, "e");
      name(part, "m");
      part.op(0x02, 0x03); // memory, shared with a maximum
      part.unsigned(1);
      part.unsigned(this.maxPages);
      name(part, "e");
      name(part, "t");
      part.op(0x01, TYPE.FUNCREF, 0x00);
      part.unsigned(1);
      for (const imported of this.imports) {
        name(part, "e");
        name(part, imported.name);
        part.byte(0x00);
        part.unsigned(imported.type);
      }
    });
    section(out, 3, (part) => {
      part.unsigned(this.functions.length);
      for (const body of this.functions) part.unsigned(body.type);
    });
    section(out, 7, (part) => {
      part.unsigned(this.functions.length);
      this.functions.forEach((body, index) => {
        name(part, body.name);
        part.byte(0x00);
        part.unsigned(this.imports.length + index);
      });
    });
    // Branch hinting proposal: offsets count from the start of the function's locals.
    section(out, 0, (part) => {
      name(part, "metadata.code.branch_hint");
      const hinted = this.functions.filter((body) => body.hints.length > 0);
      part.unsigned(hinted.length);
      for (const body of hinted) {
        const start = localsOf(body).length;
        part.unsigned(this.imports.length + this.functions.indexOf(body));
        part.unsigned(body.hints.length / 2);
        for (let i = 0; i < body.hints.length; i += 2) {
          part.unsigned(start + body.hints[i]!);
          part.unsigned(1);
          part.byte(body.hints[i + 1]!);
        }
      }
    });
    section(out, 10, (part) => {
      part.unsigned(this.functions.length);
      for (const body of this.functions) {
        const locals = localsOf(body);
        part.unsigned(locals.length + body.code.length + 1);
        part.append(locals.bytes.subarray(0, locals.length));
        part.append(body.code);
        part.byte(0x0b);
      }
    });
    return out.bytes.slice(0, out.length);
  }
}

function localsOf(body: FunctionBody): Code {
  const locals = new Code();
  locals.unsigned(body.locals.length);
  for (const [count, type] of body.locals) {
    locals.unsigned(count);
    locals.byte(type);
  }
  return locals;
}

function section(out: Code, id: number, fill: (part: Code) => void): void {
  const part = new Code();
  fill(part);
  out.byte(id);
  out.unsigned(part.length);
  out.append(part.bytes.subarray(0, part.length));
}

function name(out: Code, text: string): void {
  out.unsigned(text.length);
  for (let i = 0; i < text.length; i++) out.byte(text.charCodeAt(i));
}
