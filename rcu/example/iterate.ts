/** Loops over collections that may stop at any time, and what happens to an iterator that outlives its scope. */
import { Idr, RcuArray, RcuDomain, RcuHashMap, RcuList, type RcuWalk, text } from "sternix/rcu";

const domain = RcuDomain.create({ bytes: 16 << 20 });
const ages = new RcuHashMap<string, number>({ key: text() });
for (const [name, age] of Object.entries({ Ada: 36, Alan: 41, Grace: 85, Kurt: 71 })) ages.insert(name, age);
const log = new RcuList<string>({ value: text() });
for (const line of ["boot", "mount", "panic", "halt"]) log.push(line);

domain.run((scope) => {
  let sum = 0;
  for (const [, age] of ages.entries(scope)) sum += age;
  console.log(`${ages.size} ages, ${sum} years`);
  for (const line of log.values(scope)) {
    if (line !== "panic") continue;
    console.log(`found ${line}, the rest is not looked at`);
    break;
  }
  // The methods of iterators, and a look without any.
  const old = ages.entries(scope).filter(([, age]) => age > 70);
  console.log(`old: ${[...old.map(([name]) => name)].sort().join(" ")}`);
  console.log(`somebody is 41: ${ages.some(scope, (_name, age) => age === 41)}`);
});

const squares = new RcuArray(5);
squares.updateAll((_value, index) => index * index);
const idr = new Idr();
for (const value of [7, 8, 9]) idr.alloc(value);
domain.run((scope) => {
  console.log(`squares ${[...squares.values(scope)].join(" ")}`);
  console.log(`ids ${[...idr.entries(scope)].map(([id, value]) => `${id}=${value}`).join(" ")}`);
});

let kept: RcuWalk<string> | null = null;
domain.run((scope) => {
  kept = log.values(scope);
  console.log(`in its scope: ${kept.next().value}`);
});
try {
  kept!.next();
} catch (error) {
  console.log(`later: ${(error as { code: string }).code}`);
}
domain.unregisterThread();
