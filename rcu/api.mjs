/**
 * Writes rcu/api.md: every export of sternix/rcu with its signature, what its docstring says (errors among it) and where it
 * is. `node rcu/api.mjs` writes, `node rcu/api.mjs --check` says whether the page is what it would write, and names exports and members
 * without a docstring; both end with status 1 when something is missing.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { SyntaxKind } from "typescript/unstable/ast";
import { API, SymbolFlags } from "typescript/unstable/sync";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = `${root}/rcu/api.md`;

/** Modules in the order in which one would read about them; those that are not named come last. */
const ORDER = [
  "domain",
  "scope",
  "guard",
  "callback",
  "synchronize",
  "srcu",
  "tasks",
  "preempt",
  "switch",
  "idle",
];

const api = new API({ cwd: root });
const { program, checker } = api
  .updateSnapshot({ openProject: `${root}/rcu/tsconfig.json` })
  .getProject(`${root}/rcu/tsconfig.json`);
const project = api.updateSnapshot().getProject(`${root}/rcu/tsconfig.json`);

const missing = [];

/** The docstring before a node, as prose; "" when there is none. */
function docOf(node, source) {
  const comments = source.slice(node.pos, node.getStart()).match(/\/\*\*[\s\S]*?\*\//g);
  if (comments === null) return "";
  return comments
    .at(-1)
    .slice(3, -2)
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim();
}

/** The docstring at the top of a module, in lines as they are. */
const docAtTop = (module) =>
  readFileSync(`${root}/rcu/${module}.ts`, "utf8")
    .match(/^\/\*\*([\s\S]*?)\*\//)[1]
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim();

/** Declaration without body, comments and line breaks. */
function signature(node, source, end) {
  return source
    .slice(node.getStart(), end)
    .replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*/g, "")
    .replace(/\s+/g, " ")
    .replace(/^export (default )?/, "")
    .replace(/ ?[={;]*\s*$/, "")
    .replace(/([([{<]) /g, "$1")
    .replace(/,? ([)\]>])/g, "$1")
    .trim();
}

/** Name of the member that a list item is about. */
const nameIn = (line) => line.match(/^- `(?:(?:abstract|readonly|get|set|static|async) )*([\w.[\]]+)/)?.[1];

const isPrivate = (member, text) =>
  member.name?.getText().startsWith("#") ||
  /^(private|protected)\b/.test(text) ||
  member.kind === SyntaxKind.ClassStaticBlockDeclaration;

/** Signatures and docstrings of what a class offers. Overloads stand for their implementation. */
function members(node, source, owner) {
  const lines = [];
  for (const [n, member] of node.members.entries()) {
    const text = signature(member, source, member.body?.getStart() ?? member.initializer?.pos ?? member.end);
    if (isPrivate(member, text)) continue;
    const name = member.name?.getText() ?? "constructor";
    const before = node.members[n - 1];
    const overloaded = before !== undefined && before.body === undefined && member.body !== undefined;
    if (overloaded && (before.name?.getText() ?? "constructor") === name && before.kind === member.kind)
      continue;
    const doc = docOf(member, source);
    const inherited = /\boverride\b/.test(text) || name === "[Symbol.dispose]" || name === "constructor";
    if (doc === "" && !inherited) missing.push(`${owner}.${name}`);
    lines.push(
      `- \`${text.replace(/^(override|readonly override) /, "")}\`${doc === "" ? "" : `: ${flow(doc)}`}`,
    );
  }
  return lines;
}

/** Members that an exported class has from one that is not exported. */
function inherited(node, owner) {
  const clause = node.heritageClauses?.find(({ token }) => token === SyntaxKind.ExtendsKeyword);
  if (clause === undefined) return [];
  const found = checker.getSymbolAtLocation(clause.types[0].expression);
  const symbol =
    found !== undefined && found.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(found) : found;
  const handle = symbol?.declarations?.[0];
  if (handle === undefined || !handle.path.startsWith(`${root}/rcu/`) || exported.has(symbol.name)) return [];
  const base = handle.resolve(project);
  const lines = members(base, base.getSourceFile().text, owner);
  return [...lines, ...inherited(base, owner)];
}

/** Prose in one line; what stands in a list item must not break out of it. */
const flow = (doc) => doc.replace(/\s*\n\s*/g, " ");

/** Declarations whose text says it all: types, interfaces with their comments, small constants. */
const verbatim = (node, source) => source.slice(node.getStart(), node.end).replace(/^export /, "");

function describe(name, symbol) {
  const handles = symbol.declarations;
  const nodes = handles.map((handle) => handle.resolve(project));
  const [first] = nodes;
  const file = first.getSourceFile();
  const source = file.text;
  const lines = [`### ${name}`, ""];
  const code = [];
  let doc = "";
  let list = [];
  for (const node of nodes) {
    const holder = node.kind === SyntaxKind.VariableDeclaration ? node.parent.parent : node;
    doc ||= docOf(holder, source);
    if (node.kind === SyntaxKind.FunctionDeclaration) {
      if (nodes.length > 1 && node.body !== undefined) continue; // Its overloads stand for it.
      code.push(signature(node, source, node.body?.getStart() ?? node.end));
    } else if (node.kind === SyntaxKind.ClassDeclaration) {
      code.push(signature(node, source, node.members[0]?.pos ?? node.end));
      list = members(node, source, name);
      const own = new Set(list.map(nameIn));
      list.push(
        ...inherited(node, name).filter((line) => !own.has(nameIn(line)) && !/^- `constructor/.test(line)),
      );
    } else if (node.kind === SyntaxKind.VariableDeclaration) {
      const type = checker.typeToString(checker.getTypeOfSymbol(symbol), node);
      code.push(`const ${name}: ${type}`);
    } else code.push(verbatim(node, source));
  }
  if (doc === "") missing.push(name);
  lines.push("```ts", ...code, "```", "");
  if (doc !== "") lines.push(doc, "");
  if (list.length > 0) lines.push(...list, "");
  return { path: relative(root, file.fileName), text: lines.join("\n") };
}

const exportsOf = (face) =>
  checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(`${root}/rcu/${face}.ts`)));
const exported = new Set(["index", "kernel"].flatMap((face) => exportsOf(face).map(({ name }) => name)));

/** What a face exports, by the module that declares it. */
function filesOf(face) {
  const files = new Map();
  for (const symbol of exportsOf(face)) {
    const target = symbol.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const { path, text } = describe(symbol.name, target);
    files.set(path, [...(files.get(path) ?? []), { name: symbol.name, text }]);
  }
  return [...files].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

const rank = (path) => {
  const at = ORDER.indexOf(path.replace(/^rcu\/|\.ts$/g, ""));
  return at < 0 ? ORDER.length : at;
};
const link = (path) => `[${path.replace("rcu/", "")}](${path.replace("rcu/", "")})`;
const index = (files) =>
  files.map(([path, entries]) => `- ${link(path)}: ${entries.map(({ name }) => `\`${name}\``).join(", ")}`);
const sections = (files) =>
  files.flatMap(([path, entries]) => [`## ${link(path)}`, "", ...entries.map(({ text }) => text)]);
const open = filesOf("index");
const kernel = filesOf("kernel");
api.close();
const out = [
  "# sternix/rcu: every export",
  "",
  "Written by `npm run api` from the docstrings: change those. Errors are classes of [error.ts](error.ts), each with a `code`.",
  "Programs that use each of these: [README.md](README.md), The surface.",
  "",
  ...index(open),
  "",
  "For kernels only, from `sternix/rcu/kernel`: [at the end](#sternixrcukernel).",
  "",
  ...index(kernel),
  "",
  ...sections(open),
  "# sternix/rcu/kernel",
  "",
  docAtTop("kernel"),
  "",
  ...sections(kernel),
];
const wanted = `${out.join("\n").trimEnd()}\n`;

for (const name of missing) console.error(`${name} has no docstring`);
if (process.argv.includes("--check")) {
  const found = readFileSync(page, "utf8");
  if (found !== wanted) console.error("rcu/api.md is not what the docstrings say: run npm run api");
  if (found !== wanted || missing.length > 0) process.exitCode = 1;
} else {
  writeFileSync(page, wanted);
  if (missing.length > 0) process.exitCode = 1;
}
