/** A source file of rcu/ as a tree: types blanked out by Node itself, so that every offset is one of the file, and parsed by acorn. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { type AnyNode, parse } from "acorn";

export type { AnyNode };

/** The root of the project, with a slash at its end. */
export const ROOT = new URL("../../../", import.meta.url).href;

export interface Source {
  /** Path from the root of the project. */
  readonly file: string;
  /** As it is in the file, types and all. */
  readonly text: string;
  readonly tree: AnyNode;
}

/** Throws a SyntaxError for what is no module. */
export function parseSource(file: string, text: string): Source {
  const stripped = stripTypeScriptTypes(text);
  if (stripped.length !== text.length) throw new Error(`${file}: blanking its types has moved its text`);
  return { file, text, tree: parse(stripped, { ecmaVersion: "latest", sourceType: "module" }) };
}

export const readSource = (file: string): Source =>
  parseSource(file, readFileSync(new URL(file, ROOT), "utf8"));

/** A node among its ancestors, the nearest one last. */
export interface Spot {
  readonly node: AnyNode;
  readonly parents: readonly AnyNode[];
  readonly source: Source;
}

export const textOf = ({ text }: Source, { start, end }: { start: number; end: number }): string =>
  text.slice(start, end);

const isNode = (value: unknown): value is AnyNode =>
  typeof value === "object" && value !== null && typeof (value as AnyNode).type === "string";

export function childrenOf(node: AnyNode): AnyNode[] {
  const children: AnyNode[] = [];
  for (const value of Object.values(node))
    if (isNode(value)) children.push(value);
    else if (Array.isArray(value)) children.push(...value.filter(isNode));
  return children.sort((one, other) => one.start - other.start);
}

/** Visits a tree in the order of the text. */
export function walk(source: Source, visit: (spot: Spot) => void): void {
  const parents: AnyNode[] = [];
  const down = (node: AnyNode): void => {
    visit({ node, parents: parents.slice(), source });
    parents.push(node);
    for (const child of childrenOf(node)) down(child);
    parents.pop();
  };
  down(source.tree);
}

export const isFunction = (node: AnyNode): boolean =>
  node.type === "FunctionDeclaration" ||
  node.type === "FunctionExpression" ||
  node.type === "ArrowFunctionExpression";

/** The nodes below one, itself among them, but not what is in functions that it makes. */
export function below(node: AnyNode): AnyNode[] {
  const found = [node];
  for (const child of childrenOf(node)) if (!isFunction(child)) found.push(...below(child));
  return found;
}

/** Name of the function around a spot, with its class: `Srcu.#enter`; "" at the top of a module. */
export function functionAround({ parents, node }: Spot): string {
  const names: string[] = [];
  for (const [n, parent] of [...parents, node].entries()) {
    const inner = parents[n + 1] ?? node;
    if (parent.type === "ClassDeclaration") names.push(parent.id?.name ?? "default");
    else if (parent.type === "FunctionDeclaration") names.push(parent.id?.name ?? "default");
    else if (parent.type === "MethodDefinition" || parent.type === "PropertyDefinition")
      names.push(keyOf(parent.key));
    else if (parent.type === "Property" && isFunction(inner)) names.push(keyOf(parent.key));
    else if (parent.type === "VariableDeclarator" && parent.id.type === "Identifier" && isFunction(inner))
      names.push(parent.id.name);
  }
  return names.join(".");
}
const keyOf = (key: AnyNode): string =>
  key.type === "Identifier" ? key.name : key.type === "PrivateIdentifier" ? `#${key.name}` : "[]";

/** The statements of a node that holds some, one after another; null for others. */
export function statementsOf(node: AnyNode): readonly AnyNode[] | null {
  if (node.type === "Program" || node.type === "BlockStatement") return node.body;
  if (node.type === "SwitchCase") return node.consequent;
  return null;
}
