/** devpts: the pseudo-terminals that exist, as /dev/pts/N. */
import { ptyExists, ptyLimit } from "../drivers/pty.ts";
import { S_IFCHR } from "../uapi/stat.ts";
import { type ProcEntry, procHidden, ptsRoot } from "./node.ts";

const slave = procHidden("/pts/N", S_IFCHR | 0o620);
const entry = (index: number): ProcEntry => ({ name: String(index), node: slave, pid: 0, fd: index });

ptsRoot.lookup = (_at, name) =>
  /^(0|[1-9][0-9]{0,3})$/.test(name) && ptyExists(Number(name)) ? entry(Number(name)) : null;
ptsRoot.list = function* (_at, from) {
  for (let index = from; index < ptyLimit(); index++)
    if (ptyExists(index)) yield { key: index, entry: entry(index) };
};
