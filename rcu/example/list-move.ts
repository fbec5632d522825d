/** Whole lists and parts of them: append, split, clear, while readers walk them. */
import { Heap, RcuList, RcuReadScope, text } from "sternix/rcu";

const heap = Heap.create({ bytes: 16 << 20 });
const words = new RcuList<string>({ value: text() });
for (const word of ["first", "walk"]) words.push(word);
const more = new RcuList<string>({ value: text() });
for (const word of ["and", "last"]) more.push(word);
words.append(more); // For a moment readers may find a word in both; nobody waits.
{
  using scope = new RcuReadScope();
  console.log(`appended: ${[...words.values(scope)].join(" ")}; left: ${more.isEmpty()}`);
  const place = words.entries(scope).find(([, word]) => word === "and");
  const tail = place === undefined ? null : words.split(scope, place[0]);
  console.log(`split: ${[...words.values(scope)].join(" ")} | ${[...(tail?.values(scope) ?? [])].join(" ")}`);
  words.clear();
  console.log(`cleared: ${words.isEmpty()}`);
}
heap.detach();
