/** The model checker itself: the memories that it models, and that its reduction loses nothing. */
import test from "ava";
import { Random } from "../../rcu/torture/random.ts";
import type { MemoryModel } from "../../userland/check/model/machine.ts";
import { check } from "./model/checker.ts";
import { type Cpu, type Library, type RootRef, type Scenario, world } from "./model/scenario.ts";
import { SCENARIOS } from "./model/scenarios/index.ts";

type Word = "x" | "y" | "z";
interface Access {
  readonly how: "load" | "store" | "atomic load" | "atomic store" | "add" | "exchange" | "post" | "await";
  readonly word: Word;
  readonly value: number;
}
const Wx = (value = 1): Access => ({ how: "store", word: "x", value });
const Wy = (value = 1): Access => ({ how: "store", word: "y", value });
const Ax: Access = { how: "add", word: "x", value: 1 };
const Ay: Access = { how: "add", word: "y", value: 1 };
const Rx: Access = { how: "load", word: "x", value: 0 };
const Ry: Access = { how: "load", word: "y", value: 0 };
const atomic = ({ how, ...rest }: Access): Access => ({
  how: how === "load" ? "atomic load" : "atomic store",
  ...rest,
});

function perform(lib: Library, cpu: Cpu, root: RootRef, access: Access, n: number): void {
  const word = lib.Root[access.word];
  const name = `${cpu.number}${String.fromCharCode(97 + n)}`;
  switch (access.how) {
    case "load":
      cpu.note(name, word.peek(root));
      break;
    case "store":
      word.init(root, access.value);
      break;
    case "atomic load":
      cpu.note(name, word.load(root));
      break;
    case "atomic store":
      word.store(root, access.value);
      break;
    case "add":
      cpu.note(name, word.add(root, access.value));
      break;
    case "exchange":
      cpu.note(name, word.exchange(root, access.value));
      break;
    case "post":
      word.store(root, access.value);
      word.notify(root);
      break;
    case "await":
      if (word.load(root) === 0) word.wait(root, 0);
  }
}

function litmus(name: string, programs: readonly (readonly Access[])[]): Scenario {
  return {
    name,
    about: "",
    build(lib) {
      const { root } = world(lib);
      return {
        cpus: programs.map((accesses) => ({
          run(lib, cpu) {
            for (const [n, access] of accesses.entries()) perform(lib, cpu, root, access, n);
          },
        })),
        judge: () => null,
      };
    },
  };
}

/** The textbook's litmus tests: which memories show the outcome. */
const TEXTBOOK: readonly (readonly [
  string,
  readonly (readonly Access[])[],
  string,
  readonly MemoryModel[],
])[] = [
  [
    "SB: store, then load the other's word",
    [
      [Wx(), Ry],
      [Wy(), Rx],
    ],
    "0b=0 1b=0",
    ["tso", "weak"],
  ],
  [
    "SB, atomic stores",
    [
      [atomic(Wx()), Ry],
      [atomic(Wy()), Rx],
    ],
    "0b=0 1b=0",
    ["weak"],
  ],
  [
    "SB, atomic",
    [
      [atomic(Wx()), atomic(Ry)],
      [atomic(Wy()), atomic(Rx)],
    ],
    "0b=0 1b=0",
    [],
  ],
  [
    "SB, additions, then plain loads",
    [
      [Ax, Ry],
      [Ay, Rx],
    ],
    "0a=0 0b=0 1a=0 1b=0",
    ["weak"],
  ],
  [
    "SB, additions, then an atomic load of the same word, then plain loads",
    [
      [Ax, atomic(Rx), Ry],
      [Ay, atomic(Ry), Rx],
    ],
    "0a=0 0b=1 0c=0 1a=0 1b=1 1c=0",
    [],
  ],
  [
    "SB, additions, then atomic loads",
    [
      [Ax, atomic(Ry)],
      [Ay, atomic(Rx)],
    ],
    "0a=0 0b=0 1a=0 1b=0",
    [],
  ],
  [
    "MP, the flag is added to on both sides",
    [
      [Wx(), Ay],
      [Ay, Rx],
    ],
    "0b=0 1a=1 1b=0",
    [],
  ],
  [
    "MP: message passing",
    [
      [Wx(), Wy()],
      [Ry, Rx],
    ],
    "1a=1 1b=0",
    ["weak"],
  ],
  [
    "MP, atomic flag store",
    [
      [Wx(), atomic(Wy())],
      [Ry, Rx],
    ],
    "1a=1 1b=0",
    ["weak"],
  ],
  [
    "MP, atomic flag",
    [
      [Wx(), atomic(Wy())],
      [atomic(Ry), Rx],
    ],
    "1a=1 1b=0",
    [],
  ],
  [
    "LB: load, then store the other's word",
    [
      [Rx, Wy()],
      [Ry, Wx()],
    ],
    "0a=1 1a=1",
    [],
  ],
  ["CoRR: two loads of one word", [[Wx()], [Rx, Rx]], "1a=1 1b=0", []],
  [
    "two stores of two CPUs, seen in one order",
    [[Wx()], [Wy()], [Rx, Ry]],
    "2a=1 2b=0",
    ["sc", "tso", "weak"],
  ],
];
for (const [name, programs, outcome, memories] of TEXTBOOK)
  test.serial(`${name}: ${memories.length === 0 ? "never" : memories.join(", ")}`, async (t) => {
    for (const model of ["sc", "tso", "weak"] as const) {
      const verdict = await check(litmus(name, programs), { model });
      t.is(verdict.violation, null);
      t.is(
        verdict.outcomes.has(outcome),
        memories.includes(model),
        `${model}: ${[...verdict.outcomes].join(", ")}`,
      );
    }
  });

const ACCESSES = ["load", "load", "store", "store", "atomic load", "add"] as const;
const ALL = [...ACCESSES, "exchange", "post", "await"] as const;

/** Programs of chance; words that are stored to plainly are written by one CPU only, since such stores must not race. */
function chance(random: Random, hows: readonly Access["how"][]): Access[][] {
  const cpus = 2 + random.below(2);
  const words: readonly Word[] = ["x", "y", "z"];
  return Array.from({ length: cpus }, (_, cpu) =>
    Array.from({ length: 2 + random.below(cpus === 2 ? 3 : 2) }, (): Access => {
      const how = hows[random.below(hows.length)]!;
      const writes = how !== "load" && how !== "atomic load" && how !== "await";
      const word = writes ? words[cpu]! : words[random.below(3)]!;
      return { how, word, value: 1 + random.below(2) };
    }),
  );
}

for (const model of ["sc", "tso", "weak"] as const)
  test.serial(`reduced and full exploration agree on programs of chance (${model})`, async (t) => {
    const random = new Random(20261121);
    let reduced = 0;
    let full = 0;
    for (let n = 0; n < 40; n++) {
      const scenario = litmus(`chance ${n}`, chance(random, ALL));
      const less = await check(scenario, { model, shortest: 0 });
      const all = await check(scenario, { model, reduce: false, shortest: 0 });
      t.is(less.violation === null, all.violation === null, JSON.stringify(scenario));
      if (all.violation === null) t.deepEqual([...less.outcomes].sort(), [...all.outcomes].sort());
      reduced += less.states;
      full += all.states;
    }
    t.true(reduced < full);
    t.log(`${reduced} states instead of ${full}`);
  });

test.serial("what sc allows tso allows, and what tso allows weak memory does", async (t) => {
  const random = new Random(26);
  let more = 0;
  for (let n = 0; n < 25; n++) {
    const scenario = litmus(`chance ${n}`, chance(random, ACCESSES));
    const [sc, tso, weak] = [
      await check(scenario, { model: "sc", shortest: 0 }),
      await check(scenario, { model: "tso", shortest: 0 }),
      await check(scenario, { model: "weak", shortest: 0 }),
    ];
    t.deepEqual([sc.violation, tso.violation, weak.violation], [null, null, null]);
    for (const outcome of sc.outcomes) t.true(tso.outcomes.has(outcome));
    for (const outcome of tso.outcomes) t.true(weak.outcomes.has(outcome));
    if (weak.outcomes.size > sc.outcomes.size) more++;
  }
  t.true(more >= 3, `${more} programs tell them apart`);
});

/** Real scenarios that are small enough to be explored without reduction. */
for (const [name, model] of [
  ["RCU+sync+free", "tso"],
  ["RCU+sync+read", "sc"],
  ["C-RW-G+RW-R", "tso"],
  ["idle, then reading", "sc"],
  ["a CPU joins", "sc"],
  ["spinlock, 2 CPUs", "tso"],
  ["SRCU", "sc"],
  ["RcuCache, reading while entries are evicted", "sc"],
] as const)
  test.serial(`reduced and full exploration agree on ${name} (${model})`, async (t) => {
    const scenario = SCENARIOS.find((one) => one.name === name)!;
    const less = await check(scenario, { model });
    const all = await check(scenario, { model, reduce: false });
    t.false(all.incomplete);
    t.deepEqual([all.violation, less.violation], [null, null]);
    t.deepEqual([...less.outcomes].sort(), [...all.outcomes].sort());
    t.log(`${less.states} states instead of ${all.states}`);
  });

test.serial("reduced and full exploration agree on mistakes", async (t) => {
  for (const [name, mutant] of [
    ["RCU+sync+free", "synchronize-noop"],
    ["idle, then reading", "active-unmarked"],
    ["a scope in a scope", "nested-enter"],
  ] as const) {
    const scenario = SCENARIOS.find((one) => one.name === name)!;
    for (const reduce of [true, false])
      t.truthy((await check(scenario, { mutant, reduce, shortest: 0 })).violation, `${name}, ${mutant}`);
  }
});

test.serial("plain stores that race are reported, not passed over", async (t) => {
  const { violation } = await check(litmus("2+2W", [[Wx(1)], [Wx(2)]]), { model: "weak" });
  t.regex(violation!.what, /stores to root#\d+\.x race, one of them a plain one/);
});

test.serial("a limit that is reached is reported", async (t) => {
  const verdict = await check(SCENARIOS.find(({ name }) => name === "RCU+sync+free")!, { limit: 100 });
  t.true(verdict.incomplete);
  t.is(verdict.violation, null);
});

test.serial("a lost wake-up is a run that never ends, and is found", async (t) => {
  const lost = litmus("lost", [
    [{ how: "await", word: "x", value: 0 }],
    [{ how: "atomic store", word: "x", value: 1 }],
  ]);
  const { violation } = await check(lost);
  t.is(violation?.what, "CPU 0 sleeps for ever on root#0.x");
  t.true(violation!.trace.some((line) => line.includes("sleeps on root#0.x = 0")));
});
