import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Folder to the folders it may import. Arrows run downwards only. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  rcu: [],
  kernel: ["rcu"],
  syscalls: ["kernel", "rcu"],
  userland: ["syscalls", "kernel", "rcu"],
};
/** npm packages that a layer may use, beyond Node's own modules. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  rcu: [],
  kernel: ["piscina"],
  syscalls: [],
  userland: ["piscina", "citty", "modern-tar"],
};
/** Programs as users write them: they import the package by its name. */
const EXAMPLES = join("rcu", "example");
const EXAMPLE_PACKAGES = ["sternix/rcu", "sternix/rcu/kernel", "piscina"];

interface Import {
  /** Path relative to the root, or the bare specifier. */
  readonly target: string;
  readonly bare: boolean;
  readonly typeOnly: boolean;
}
interface Source {
  readonly file: string;
  readonly layer: string;
  /** Text without comments. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const withoutComments = (text: string) =>
  text.replace(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\/\*[\s\S]*?\*\/|(?<![:\\])\/\/[^\n]*/g, (match) =>
    match.startsWith("/") ? "" : match,
  );

function importsOf(file: string, code: string): Import[] {
  const found: Import[] = [];
  const statement =
    /(?:^|[;\n])\s*(?:import|export)\s+(type\s+)?([^;"']*?\sfrom\s*)?["']([^"']+)["']|(?<![.\w])import\(\s*["']([^"']+)["']/g;
  for (const match of code.matchAll(statement)) {
    const specifier = match[3] ?? match[4]!;
    const names = match[2]?.match(/\{([^}]*)\}/)?.[1];
    const onlyTypeNames =
      names !== undefined &&
      names.split(",").filter((name) => name.trim() !== "").length > 0 &&
      names.split(",").every((name) => name.trim() === "" || name.trim().startsWith("type "));
    const bare = !specifier.startsWith(".");
    const target = bare ? specifier : relative(root, resolve(root, dirname(file), specifier));
    found.push({ target, bare, typeOnly: match[1] !== undefined || onlyTypeNames });
  }
  return found;
}

function sources(): Source[] {
  return Object.keys(LAYERS).flatMap((layer) =>
    readdirSync(join(root, layer), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => {
        const file = join(layer, name);
        const code = withoutComments(readFileSync(join(root, file), "utf8"));
        return { file, layer, code, imports: importsOf(file, code) };
      }),
  );
}

const all = sources();

test("every layer has sources", (t) => {
  for (const layer of Object.keys(LAYERS))
    t.true(
      all.some((source) => source.layer === layer),
      layer,
    );
});

test("a layer imports only the layers below it", (t) => {
  const wrong = all.flatMap((source) =>
    source.imports
      .filter(({ bare }) => !bare)
      .filter(({ target }) => {
        const layer = target.split(sep)[0]!;
        return layer !== source.layer && !LAYERS[source.layer]!.includes(layer);
      })
      .map(({ target }) => `${source.file} imports ${target}`),
  );
  t.deepEqual(wrong, []);
});

/** The library, what of it only kernels need, and the torture test as a command. */
const RCU_DOORS = ["index.ts", "kernel.ts", join("torture", "cli.ts")].map((file) => join("rcu", file));
/** The model checker names the words of the heap. */
const CHECK_DOORS = [...RCU_DOORS, join("rcu", "layout.ts")];
const CHECK = join("userland", "check") + sep;

test("other layers enter rcu through its two faces, the command line its torture test, and the model checker its layout", (t) => {
  const wrong = all
    .filter((source) => source.layer !== "rcu")
    .flatMap((source) =>
      source.imports
        .filter(({ target }) => target.startsWith(`rcu${sep}`))
        .filter(({ target }) => !(source.file.startsWith(CHECK) ? CHECK_DOORS : RCU_DOORS).includes(target))
        .map(({ target }) => `${source.file} imports ${target}`),
    );
  t.deepEqual(wrong, []);
});

/** Folders of the engine to what they may import besides themselves: files, or folders that end in a separator. */
const ENGINE = join("userland", "riscv64") + sep;
const ENGINE_IMPORTS: readonly (readonly [folder: string, allowed: readonly string[]])[] = [
  [ENGINE, [join("kernel", "usermode.ts"), join("rcu", "index.ts")]],
  [join(ENGINE, "wasm") + sep, []],
  [join(ENGINE, "fpu") + sep, [join(ENGINE, "wasm") + sep, join(ENGINE, "prebuilt.ts")]],
];

test("the engine knows only usermode.ts of the kernel, its assembler nothing, its floating point only the assembler", (t) => {
  const wrong = ENGINE_IMPORTS.flatMap(([folder, allowed]) => {
    const inside = all.filter(({ file }) => file.startsWith(folder));
    t.true(inside.length > 0, folder);
    return inside.flatMap((source) =>
      source.imports
        .filter(({ target }) => ![folder, ...allowed].some((path) => target.startsWith(path)))
        .map(({ target }) => `${source.file} imports ${target}`),
    );
  });
  t.deepEqual(wrong, []);
});

/** Exports of an index: the names that it lists. */
const listed = (file: string): string[] =>
  [...readFileSync(join(root, file), "utf8").matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap((match) =>
    match[1]!.split(",").map((name) => name.trim().replace(/^type /, "")),
  );

test("no name is exported by both faces of rcu", (t) => {
  const faces = [listed(join("rcu", "index.ts")), listed(join("rcu", "kernel.ts"))] as const;
  t.true(faces[1].length > 20);
  t.deepEqual(
    faces[1].filter((name) => name !== "" && faces[0].includes(name)),
    [],
  );
});

test("the kernel allocates by what answers 0, never by what throws", (t) => {
  const throwing =
    /import (?:type )?\{[^}]*(?<![\w])(?:alloc|allocArray|allocString)\b[^}]*\} from "[./]+\/rcu\/index\.ts"/;
  const wrong = all.filter(
    ({ layer, code }) => (layer === "kernel" || layer === "syscalls") && throwing.test(code),
  );
  t.deepEqual(
    wrong.map(({ file }) => file),
    [],
  );
});

test("a layer uses only the npm packages it was given", (t) => {
  const wrong = all.flatMap((source) =>
    source.imports
      .filter(({ bare, target }) => bare && !target.startsWith("node:"))
      .filter(({ target }) => !(source.file.startsWith(EXAMPLES) && EXAMPLE_PACKAGES.includes(target)))
      .filter(
        ({ target }) =>
          !PACKAGES[source.layer]!.some((name) => target === name || target.startsWith(`${name}/`)),
      )
      .map(({ target }) => `${source.file} imports ${target}`),
  );
  t.deepEqual(wrong, []);
});

test("every relative import names an existing file by its full name", (t) => {
  const files = new Set(all.map((source) => source.file));
  const wrong = all.flatMap((source) =>
    source.imports
      .filter(({ bare, target }) => !bare && !files.has(target))
      .map(({ target }) => `${source.file} imports ${target}`),
  );
  t.deepEqual(wrong, []);
});

test("no import cycles", (t) => {
  const graph = new Map(
    all.map((source) => [
      source.file,
      source.imports.filter((i) => !i.bare && !i.typeOnly).map((i) => i.target),
    ]),
  );
  t.deepEqual(cyclesOf(graph), []);
});

/** Strongly connected components of more than one file (Tarjan), as readable lines. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[] = [];
  const visit = (file: string) => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(file, Math.min(low.get(file)!, low.get(next)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    if (component.length > 1) cycles.push(component.join(" -> "));
    else if (graph.get(file)?.includes(file)) cycles.push(`${file} -> ${file}`);
  };
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return cycles;
}

test("Atomics appear only in rcu, and in the model checker's own Atomics", (t) => {
  const wrong = all
    .filter(({ file, layer }) => layer !== "rcu" && !file.startsWith(join("userland", "check", "model")))
    .filter(({ code }) => /\bAtomics\b/.test(code))
    .map(({ file }) => file);
  t.deepEqual(wrong, []);
});

test("sources name no path of a developer's machine and no package registry", (t) => {
  const forbidden =
    /(["'`\s(])\/(?:root|home\/\w+|Users\/\w+|work)\/|\.\.\/shared\/|registry\.[\w.]+\.(?:org|com)/;
  const texts = readdirSync(root, { withFileTypes: true })
    .filter((entry) => !["node_modules", "dist", ".git"].includes(entry.name))
    .flatMap((entry) =>
      entry.isDirectory()
        ? readdirSync(join(root, entry.name), { recursive: true, encoding: "utf8" }).map((n) =>
            join(entry.name, n),
          )
        : [entry.name],
    )
    .filter((name) => /\.(ts|mjs|md|json|sh|c|h)$|^\.ci\/run$/.test(name));
  const wrong = texts.filter((name) => {
    // Other tests, running at the same time, may take their scratch files away.
    if (!existsSync(join(root, name))) return false;
    const match = readFileSync(join(root, name), "utf8").match(forbidden);
    return match !== null && !name.startsWith(join("test", "layering"));
  });
  t.true(texts.length > 50);
  t.deepEqual(wrong, []);
});
