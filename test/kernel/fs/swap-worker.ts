/** For hostile-mount.test.ts: exchanges files, folders and links below a mounted folder, by chance, until it is told to stop. */
import fs from "node:fs";
import path from "node:path";
import { workerData } from "node:worker_threads";
import { atomicLoad } from "../../../rcu/index.ts";

interface Swapping {
  readonly host: string;
  readonly outside: string;
  readonly seed: number;
  readonly stop: SharedArrayBuffer;
}
const { host, outside, seed, stop } = workerData as Swapping;
const stopped = new Int32Array(stop);

let state = seed;
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

/** Everything is prepared beside the mount, so that what appears there is whole. */
const aside = path.join(path.dirname(host), "aside");
fs.mkdirSync(aside);
let number = 0;
const fresh = (): string => path.join(aside, `n${number++}`);

const makers = [
  (at: string): void => fs.writeFileSync(at, "own file"),
  (at: string): void => {
    fs.mkdirSync(at);
    fs.writeFileSync(path.join(at, "secret"), "own secret");
    fs.mkdirSync(path.join(at, "d"));
  },
  (at: string): void => fs.symlinkSync(outside, at),
  (at: string): void => fs.symlinkSync(path.join(outside, "secret"), at),
  (at: string): void => fs.symlinkSync("../outside", at),
];

while (atomicLoad(stopped, 0) === 0) {
  const top = path.join(host, "abcd"[random(4)]!);
  const below = ["", "d", "secret"][random(3)]!;
  let folder = -1;
  try {
    const made = fresh();
    makers[random(makers.length)]!(made);
    // A name in a folder is changed in that very folder: by its path this thread would follow a link, and change what is outside.
    if (below !== "") folder = fs.openSync(top, fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW);
    const name = folder < 0 ? top : `/proc/self/fd/${folder}/${below}`;
    // What stood there goes aside; its own folder may be exchanged meanwhile, as every name here.
    if (fs.lstatSync(name, { throwIfNoEntry: false }) !== undefined) fs.renameSync(name, fresh());
    fs.renameSync(made, name);
  } catch {
    // The guest was faster, or this is a system without /proc, where only the upper names change.
  }
  if (folder >= 0) fs.closeSync(folder);
}
