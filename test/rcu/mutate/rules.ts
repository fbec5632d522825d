/** The rules by which mistakes are made: each looks at one node and says which texts might stand in its place. */
import { type AnyNode, below, childrenOf, isFunction, type Spot, statementsOf, textOf } from "./source.ts";

export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}
export interface Change {
  readonly edits: readonly Edit[];
  /** What is changed, in short: a part of the mutant's id. Default: the text of the node. */
  readonly what?: string;
  /** What tells it from other changes of the same text by the same rule. */
  readonly how?: string;
}
export interface Rule {
  readonly name: string;
  readonly about: string;
  apply(spot: Spot): readonly Change[];
}

/** Where the order of everything matters: here every branch and every statement counts; elsewhere, those that touch the heap. */
const CORE = new Set(
  (
    "grace-period callback cblist preempt synchronize srcu srcu-gp waitlist tasks sync percpu-ref percpu-rwsem lock mutex orphan release " +
    "scope hotplug idle force"
  ).split(" "),
);
const isCore = (file: string): boolean => CORE.has(file.replace(/^rcu\/|\.ts$/g, ""));

type Call = Extract<AnyNode, { type: "CallExpression" }>;

/** `Atomics.load` for a call of that; "" for what has no such name. */
function nameOf(callee: AnyNode): string {
  if (callee.type === "Identifier") return callee.name;
  if (callee.type === "ThisExpression") return "this";
  if (callee.type !== "MemberExpression" || callee.computed) return "";
  const object = nameOf(callee.object);
  const key = callee.property as AnyNode;
  const property =
    key.type === "Identifier" ? key.name : key.type === "PrivateIdentifier" ? `#${key.name}` : "";
  return object === "" || property === "" ? "" : `${object}.${property}`;
}

/** An operation on a field of a struct, by its accessor: `Domain.seq.load(ref)`. */
const FIELD = /^[A-Z]\w*\.\w+\.(load|store|add|or|and|exchange|cas|assign|incNotZero|decAndTest|notify)$/;
const PLAIN_FIELD = /^[A-Z]\w*\.\w+\.(get|set|peek|init|racy|deref|raw|access|increment)$/;

const isAtomic = (node: AnyNode): node is Call => {
  if (node.type !== "CallExpression") return false;
  const name = nameOf(node.callee);
  return name.startsWith("Atomics.") || FIELD.test(name);
};
const touchesField = (node: AnyNode): boolean =>
  node.type === "CallExpression" && PLAIN_FIELD.test(nameOf(node.callee));
/** Touches the heap in one way or another. */
const isAccess = (node: AnyNode): boolean =>
  touchesField(node) ||
  (node.type === "MemberExpression" && node.computed && /^(i32|f64|u8|words)$/.test(nameOf(node.object))) ||
  isAtomic(node);

const instead = ({ node }: Spot, text: string, how = ""): Change => ({
  edits: [{ start: node.start, end: node.end, text }],
  how,
});

/** What tells nobody but whoever looks at traces, counters of events, and clocks. */
const TALK = /^(traceRcu|bump|.*\.(increment))$/;

const weaken: Rule = {
  name: "weaken",
  about: "an atomic operation becomes plain accesses",
  apply(spot) {
    const { node, source } = spot;
    if (!isAtomic(node)) return [];
    const name = nameOf(node.callee);
    const [first, ...rest] = node.arguments.map((argument) => textOf(source, argument));
    if (name.startsWith("Atomics.")) {
      const [at, a, b] = rest;
      const split = (fresh: string) =>
        `((at) => { const was = ${first}[at]!; ${first}[at] = ${fresh}; return was; })(${at})`;
      switch (name) {
        case "Atomics.load":
          return [instead(spot, `${first}[${at}]!`)];
        case "Atomics.store":
          return [instead(spot, `(${first}[${at}] = ${a})`)];
        case "Atomics.exchange":
          return [instead(spot, split(`${a}`))];
        case "Atomics.add":
          return [instead(spot, split(`was + (${a})`))];
        case "Atomics.sub":
          return [instead(spot, split(`was - (${a})`))];
        case "Atomics.or":
          return [instead(spot, split(`was | (${a})`))];
        case "Atomics.and":
          return [instead(spot, split(`was & (${a})`))];
        case "Atomics.compareExchange":
          return [instead(spot, split(`was === (${a}) ? (${b}) : was`))];
        default:
          return [];
      }
    }
    const field = name.slice(0, name.lastIndexOf("."));
    const split = (fresh: string) =>
      `((ref, was) => { ${field}.init(ref, ${fresh}); return was; })(${first}, ${field}.peek(${first}))`;
    const wordOfMany = name.endsWith(".store") ? rest.length === 2 : rest.length === 1;
    switch (name.slice(field.length + 1)) {
      case "load":
        return [
          instead(spot, `${field}.${rest.length === 0 ? "peek" : "get"}(${[first, ...rest].join(", ")})`),
        ];
      case "store":
        return [instead(spot, `${field}.${wordOfMany ? "set" : "init"}(${[first, ...rest].join(", ")})`)];
      case "assign":
        return [instead(spot, `${field}.init(${rest.join(", ")})`)];
      case "add":
        return rest.length === 1 ? [instead(spot, split(`was + (${rest[0]})`))] : [];
      case "exchange":
        return [instead(spot, split(`${rest[0]}`))];
      case "cas":
        return rest.length === 2
          ? [
              instead(
                spot,
                `(${field}.peek(${first}) === (${rest[0]}) && (${field}.init(${first}, ${rest[1]}), true))`,
              ),
            ]
          : [];
      default:
        return [];
    }
  },
};

const blind: Rule = {
  name: "blind",
  about: "a compare-and-exchange stores whatever it finds, and says that it succeeded",
  apply(spot) {
    const { node, source } = spot;
    if (!isAtomic(node)) return [];
    const name = nameOf(node.callee);
    const given = node.arguments.map((argument) => textOf(source, argument));
    if (name === "Atomics.compareExchange") {
      const [view, at, expected, fresh] = given;
      return [instead(spot, `(Atomics.store(${view}, ${at}, ${fresh}), (${expected}))`)];
    }
    if (!name.endsWith(".cas") || given.length !== 3) return [];
    return [instead(spot, `(${name.slice(0, -4)}.store(${given[0]}, ${given[2]}), true)`)];
  },
};

const isCheck = (name: string): boolean => /(^|[.#])(check|assert|prove)[A-Z]\w*$/.test(name);

/** The expression of a statement that is nothing else, without await and void. */
function expressionOf(node: AnyNode): AnyNode | null {
  if (node.type !== "ExpressionStatement") return null;
  let { expression } = node as { expression: AnyNode };
  if (expression.type === "AwaitExpression") expression = expression.argument;
  return expression;
}

const drop: Rule = {
  name: "drop",
  about: "a statement is left out: an atomic operation, a store, a lock, a wake-up, a wait, a call",
  apply(spot) {
    const expression = expressionOf(spot.node);
    if (expression === null || expression.type === "Literal") return [];
    const name = expression.type === "CallExpression" ? nameOf(expression.callee) : "";
    if (
      !isCore(spot.source.file) &&
      !below(expression).some(isAccess) &&
      expression.type !== "CallExpression"
    )
      return [];
    if (TALK.test(name) || isCheck(name) || name === "super" || expression.type === "YieldExpression")
      return [];
    if (expression.type === "CallExpression" && expression.callee.type === "Super") return [];
    return [instead(spot, ";")];
  },
};

const names = (nodes: readonly AnyNode[]): Set<string> =>
  new Set(nodes.flatMap((node) => (node.type === "Identifier" ? [node.name] : [])));
const all = (node: AnyNode): AnyNode[] => [node, ...childrenOf(node).flatMap(all)];

function declaredIn(node: AnyNode): Set<string> {
  if (node.type !== "VariableDeclaration") return new Set();
  return names(node.declarations.flatMap(({ id }) => all(id)));
}

/** Statements that may change places: none that leaves, declares functions or imports. */
const moves = (node: AnyNode): boolean =>
  node.type === "ExpressionStatement" ||
  node.type === "VariableDeclaration" ||
  node.type === "IfStatement" ||
  node.type === "ForStatement" ||
  node.type === "WhileStatement" ||
  node.type === "ForOfStatement";

/** What a statement does in the order of the memory: nothing, a plain access or a call, or an atomic operation. */
function weight(node: AnyNode): number {
  const nodes = below(node);
  if (nodes.some((inner) => inner.type === "CallExpression" && TALK.test(nameOf(inner.callee)))) return 0;
  if (nodes.some(isAtomic)) return 2;
  return nodes.some((inner) => inner.type === "CallExpression" || isAccess(inner)) ? 1 : 0;
}

const swap: Rule = {
  name: "swap",
  about: "an atomic operation changes places with an access or a call in front of it or behind it",
  apply({ node, source, parents }) {
    const statements = statementsOf(node);
    if (statements === null || !parents.some(isFunction)) return [];
    const changes: Change[] = [];
    for (const [n, one] of statements.slice(0, -1).entries()) {
      const other = statements[n + 1]!;
      if (!moves(one) || !moves(other)) continue;
      const [w, v] = [weight(one), weight(other)];
      if (w === 0 || v === 0 || (w < 2 && v < 2)) continue;
      const declared = declaredIn(one);
      if (all(other).some((inner) => inner.type === "Identifier" && declared.has(inner.name))) continue;
      const [a, b] = [textOf(source, one), textOf(source, other)];
      changes.push({
        edits: [
          { start: one.start, end: one.end, text: b },
          { start: other.start, end: other.end, text: a },
        ],
        what: `${a.slice(0, 36)} <> ${b.slice(0, 36)}`,
      });
    }
    return changes;
  },
};

const PAIRS: Readonly<Record<string, string>> = {
  lock: "unlock",
  lockWord: "unlockWord",
  takeWord: "dropWord",
  readLockWord: "readUnlockWord",
  writeLockWord: "writeUnlockWord",
  lockBoth: "unlockBoth",
  readLock: "readUnlock",
  writeLock: "writeUnlock",
  mutexLock: "mutexUnlock",
};

const unlocked: Rule = {
  name: "unlocked",
  about: "a function does without a lock: it is neither taken nor given back",
  apply(spot) {
    const { node, source } = spot;
    if (!isFunction(node)) return [];
    const calls = below((node as { body: AnyNode }).body).filter(
      (inner): inner is Call => inner.type === "CallExpression",
    );
    const keyOf = (call: Call): readonly [verb: string, rest: string] => {
      const name = nameOf(call.callee);
      const at = name.lastIndexOf(".") + 1;
      return [
        name.slice(at),
        `${name.slice(0, at)} ${call.arguments.map((one) => textOf(source, one)).join()}`,
      ];
    };
    const changes = new Map<string, Change>();
    for (const call of calls) {
      const [verb, rest] = keyOf(call);
      const opposite = PAIRS[verb];
      if (opposite === undefined || changes.has(verb + rest)) continue;
      const both = calls.filter((other) => {
        const [otherVerb, otherRest] = keyOf(other);
        return otherRest === rest && (otherVerb === verb || otherVerb === opposite);
      });
      if (!both.some((other) => keyOf(other)[0] === opposite)) continue;
      changes.set(verb + rest, {
        edits: both.map(({ start, end }) => ({ start, end, text: "(1 as never)" })),
        what: textOf(source, call),
      });
    }
    return [...changes.values()];
  },
};

const immediate: Rule = {
  name: "immediate",
  about: "what is deferred until after a grace period is done at once",
  apply(spot) {
    const { node, source } = spot;
    if (node.type !== "CallExpression") return [];
    const [first, second] = node.arguments.map((argument) => textOf(source, argument));
    const importing = (name: string, module: string, call: string): readonly Change[] => [
      {
        edits: [
          { start: node.start, end: node.end, text: call },
          {
            start: source.text.length,
            end: source.text.length,
            text: `import { ${name} as ${name}AtOnce } from "./${module}.ts";\n`,
          },
        ],
      },
    ];
    switch (nameOf(node.callee)) {
      case "callRcu":
      case "callRcuTasks":
        return [instead(spot, second === undefined ? `(${first})()` : `(${first}).run(${second})`)];
      case "kfreeRcu":
        return importing("free", "struct", `freeAtOnce(${first}, ${second})`);
      case "kfreeArrayRcu":
        return importing("freeArray", "array", `freeArrayAtOnce(${first})`);
      case "kfreeStringRcu":
        return importing("freeString", "array", `freeStringAtOnce(${first})`);
      case "kfreeCellRcu":
        return [
          {
            edits: [
              {
                start: node.start,
                end: node.end,
                text: `freeCellAtOnce(pageCacheAtOnce(${first}), ${first})`,
              },
              {
                start: source.text.length,
                end: source.text.length,
                text:
                  'import { freeCell as freeCellAtOnce } from "./slab.ts";\n' +
                  'import { pageCache as pageCacheAtOnce } from "./buddy.ts";\n',
              },
            ],
          },
        ];
      default:
        return [];
    }
  },
};

/** Numbers of grace periods, and what is computed from them. */
const STAMPS =
  /^(gpStamp|gpSeq|seqSnap|srcuSnap|startPollSynchronizeRcu(Expedited)?|getStateSynchronizeRcu|Domain\.(seq|needed|grace)\.load)$/;

const sequence: Rule = {
  name: "sequence",
  about: "a stamp, or the number of a grace period, is one grace period too small or too large",
  apply(spot) {
    const { node, source } = spot;
    if (node.type !== "CallExpression") return [];
    const name = nameOf(node.callee);
    const text = textOf(source, node);
    if (STAMPS.test(name))
      return [instead(spot, `((${text} - 4) | 0)`, "early"), instead(spot, `((${text} + 4) | 0)`, "late")];
    if (name !== "seqDone" || node.arguments.length !== 2) return [];
    const [seq, stamp] = node.arguments.map((argument) => textOf(source, argument));
    return [
      instead(spot, `seqDone(${seq}, ((${stamp}) - 4) | 0)`, "early"),
      instead(spot, `seqDone(${seq}, ((${stamp}) + 4) | 0)`, "late"),
    ];
  },
};

/** Arithmetic of stamps, sequences and banks. */
const COUNTS = /seq|stamp|needed|goal|cookie|STEP|STATE|bank|look|index/i;

const offByOne: Rule = {
  name: "off-by-one",
  about: "a number in the arithmetic of stamps and sequences is one off",
  apply(spot) {
    const { node, parents } = spot;
    const parent = parents.at(-1);
    if (node.type !== "Literal" || typeof node.value !== "number" || !Number.isInteger(node.value)) return [];
    if (!parents.some(isFunction)) return [];
    const operator =
      parent?.type === "BinaryExpression" || parent?.type === "AssignmentExpression" ? parent.operator : "";
    if (!/^(\+|-|<|>|<=|>=|===|!==|\+=|-=)$/.test(operator)) return [];
    if (!COUNTS.test(textOf(spot.source, parent!))) return [];
    // What begins or does not is a matter of `condition`.
    if (node.value === 0 && /^[!=]==$/.test(operator)) return [];
    const more = instead(spot, String(node.value + 1), "more");
    const less = instead(spot, String(node.value - 1), "less");
    return node.value === 0 ? [more] : [more, less];
  },
};

const BOUNDS: Readonly<Record<string, string>> = { "<": "<=", "<=": "<", ">": ">=", ">=": ">" };

const boundary: Rule = {
  name: "boundary",
  about: "a comparison takes its boundary in, or leaves it out",
  apply(spot) {
    const { node, source } = spot;
    if (node.type !== "BinaryExpression" || BOUNDS[node.operator] === undefined) return [];
    if (!spot.parents.some(isFunction)) return [];
    if (!COUNTS.test(textOf(source, node)) && !below(node).some(isAccess)) return [];
    return [
      instead(spot, `${textOf(source, node.left)} ${BOUNDS[node.operator]} ${textOf(source, node.right)}`),
    ];
  },
};

/** Whether a statement does nothing but throw, or call what throws. */
function complains(node: AnyNode): boolean {
  if (node.type === "ThrowStatement") return true;
  if (node.type === "BlockStatement") return node.body.length === 1 && complains(node.body[0]!);
  const expression = node.type === "ReturnStatement" ? (node.argument as AnyNode | null) : expressionOf(node);
  return (
    expression?.type === "CallExpression" &&
    /(^|[.#])(wrong|fail|complain|corrupt|outOfBounds|idleScope|check|assert)/i.test(
      nameOf(expression.callee),
    )
  );
}

/** Looks at what others may have changed: the heap, or what a function says. */
const asks = (node: AnyNode): boolean =>
  below(node).some((inner) => isAccess(inner) || inner.type === "CallExpression");

const condition: Rule = {
  name: "condition",
  about: "a branch is always taken, or never: a re-check that is dropped",
  apply(spot) {
    const { node, source } = spot;
    if (node.type === "IfStatement" || node.type === "ConditionalExpression") {
      if (node.type === "IfStatement" && complains(node.consequent)) return [];
      if (!asks(node.test) && !isCore(source.file)) return [];
      const what = `${textOf(source, node.test)} ?`;
      const { start, end } = node.test;
      return ["true", "false"].map((text) => ({ edits: [{ start, end, text }], what, how: text }));
    }
    const loops = node.type === "WhileStatement" || node.type === "DoWhileStatement";
    if (loops && node.test.type !== "Literal") {
      const { start, end } = node.test;
      return [
        { edits: [{ start, end, text: "(false as boolean)" }], what: `while ${textOf(source, node.test)}` },
      ];
    }
    return [];
  },
};

const operand: Rule = {
  name: "operand",
  about: "one side of && or || is left out",
  apply(spot) {
    const { node, source } = spot;
    if (node.type !== "LogicalExpression" || node.operator === "??") return [];
    if (!asks(node) && !isCore(source.file)) return [];
    const [left, right] = [textOf(source, node.left), textOf(source, node.right)];
    return [instead(spot, `(${right})`, "right only"), instead(spot, `(${left})`, "left only")];
  },
};

const result: Rule = {
  name: "result",
  about: "a function that says whether it did something says the opposite",
  apply(spot) {
    const { node } = spot;
    if (node.type !== "ReturnStatement" || node.argument?.type !== "Literal") return [];
    if (typeof node.argument.value !== "boolean") return [];
    return [instead(spot, `return ${!node.argument.value};`)];
  },
};

export const RULES: readonly Rule[] = [
  weaken,
  blind,
  drop,
  swap,
  unlocked,
  immediate,
  sequence,
  offByOne,
  boundary,
  condition,
  operand,
  result,
];
