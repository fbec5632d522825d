/**
 * The part of the WebAssembly JavaScript interface that Sternix uses (W3C: WebAssembly JavaScript Interface, and the
 * threads proposal for shared memories). TypeScript has these types only together with the whole DOM, which Node
 * does not have.
 */
declare namespace WebAssembly {
  // biome-ignore lint/suspicious/noExplicitAny: exports have whatever type the module declares.
  type ExportValue = any;
  type Exports = Record<string, ExportValue>;
  type Imports = Record<string, Record<string, ExportValue>>;

  interface MemoryDescriptor {
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: ArrayBuffer;
    grow(delta: number): number;
  }
  interface TableDescriptor {
    element: "anyfunc" | "externref";
    initial: number;
    maximum?: number;
  }
  class Table {
    constructor(descriptor: TableDescriptor, value?: ExportValue);
    readonly length: number;
    get(index: number): ExportValue;
    grow(delta: number, value?: ExportValue): number;
    set(index: number, value?: ExportValue): void;
  }
  class Module {
    constructor(bytes: ArrayBufferView<ArrayBuffer> | ArrayBuffer);
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }
  class Global {
    constructor(descriptor: { value: string; mutable?: boolean }, value?: ExportValue);
    value: ExportValue;
  }
  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}
  function validate(bytes: ArrayBufferView<ArrayBuffer> | ArrayBuffer): boolean;
}
