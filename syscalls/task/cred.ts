/** User and group ids, capabilities: credentials(7), capabilities(7). */
import { tryAllocTable } from "../../kernel/mm/heap.ts";
import { copyFromUser, copyToUser, faultIn, putUser32 } from "../../kernel/mm/uaccess.ts";
import { commitCaps } from "../../kernel/task/capability.ts";
import {
  CAP_SETGID,
  CAP_SETUID,
  type CapWords,
  type CredChange,
  capable,
  commitCred,
  credOf,
} from "../../kernel/task/cred.ts";
import { Cred, Task } from "../../kernel/task/task.ts";
import { EFAULT, EINVAL, ENOMEM, EPERM, ESRCH } from "../../kernel/uapi/errno.ts";
import { ACCESS } from "../../kernel/usermode.ts";
import { arrayGet, arrayLength, arraySet, type Ref } from "../../rcu/index.ts";
import { int, ptr, uid } from "../args.ts";
import { syscall } from "../syscall.ts";
import { lookup } from "./ids.ts";

type Field = typeof Cred.uid;
const getter = (nr: number, name: string, field: Field) =>
  syscall({ nr, name, args: [], returns: uid, handler: (task) => field.get(credOf(task)) >>> 0 });

export const getuid = getter(174, "getuid", Cred.uid);
export const geteuid = getter(175, "geteuid", Cred.euid);
export const getgid = getter(176, "getgid", Cred.gid);
export const getegid = getter(177, "getegid", Cred.egid);

const KEEP = 0xffffffff;

/** The ids of users or of groups: the rules are the same, the capability differs. */
interface Family {
  readonly capability: number;
  readonly real: Field;
  readonly effective: Field;
  readonly saved: Field;
  readonly fs: Field;
  change(real?: number, effective?: number, saved?: number, fs?: number): CredChange;
}

const defined = (change: Record<string, number | undefined>): CredChange =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));

const USER: Family = {
  capability: CAP_SETUID,
  real: Cred.uid,
  effective: Cred.euid,
  saved: Cred.suid,
  fs: Cred.fsuid,
  change: (real, effective, saved, fs) => defined({ uid: real, euid: effective, suid: saved, fsuid: fs }),
};
const GROUP: Family = {
  capability: CAP_SETGID,
  real: Cred.gid,
  effective: Cred.egid,
  saved: Cred.sgid,
  fs: Cred.fsgid,
  change: (real, effective, saved, fs) => defined({ gid: real, egid: effective, sgid: saved, fsgid: fs }),
};

/** setuid, setgid: all ids with the capability, else the effective one among real and saved. */
function setId(task: Ref<"task">, family: Family, id: number): number {
  if (id === KEEP) return -EINVAL;
  const cred = credOf(task);
  if (capable(task, family.capability)) return commitCred(task, family.change(id | 0, id | 0, id | 0));
  const wanted = id | 0;
  if (wanted !== family.real.get(cred) && wanted !== family.saved.get(cred)) return -EPERM;
  return commitCred(task, family.change(undefined, wanted));
}

/** setreuid, setregid. */
function setRealEffective(task: Ref<"task">, family: Family, real: number, effective: number): number {
  const cred = credOf(task);
  const privileged = capable(task, family.capability);
  const own = [family.real.get(cred), family.effective.get(cred)];
  if (real !== KEEP && !privileged && !own.includes(real | 0)) return -EPERM;
  if (effective !== KEEP && !privileged && ![...own, family.saved.get(cred)].includes(effective | 0))
    return -EPERM;
  const newEffective = effective === KEEP ? undefined : effective | 0;
  // The saved id follows when the real id is set, or the effective one to something other than the real id.
  const saves = real !== KEEP || (newEffective !== undefined && newEffective !== own[0]);
  const saved = saves ? (newEffective ?? own[1]) : undefined;
  return commitCred(task, family.change(real === KEEP ? undefined : real | 0, newEffective, saved));
}

/** setresuid, setresgid. */
function setAll(task: Ref<"task">, family: Family, ids: readonly number[]): number {
  const cred = credOf(task);
  const own = [family.real, family.effective, family.saved].map((field) => field.get(cred));
  if (!capable(task, family.capability) && ids.some((id) => id !== KEEP && !own.includes(id | 0)))
    return -EPERM;
  const [real, effective, saved] = ids.map((id) => (id === KEEP ? undefined : id | 0));
  return commitCred(task, family.change(real, effective, saved));
}

function getAll(task: Ref<"task">, family: Family, addresses: readonly number[]): number {
  const cred = credOf(task);
  const fields = [family.real, family.effective, family.saved];
  for (const [n, address] of addresses.entries()) {
    if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
    putUser32(address, fields[n]!.get(cred));
  }
  return 0;
}

/** setfsuid, setfsgid: the old id, whatever happens. */
function setFs(task: Ref<"task">, family: Family, id: number): number {
  const cred = credOf(task);
  const old = family.fs.get(cred);
  const own = [family.real, family.effective, family.saved, family.fs].map((field) => field.get(cred));
  if (id !== KEEP && (capable(task, family.capability) || own.includes(id | 0)))
    commitCred(task, family.change(undefined, undefined, undefined, id | 0));
  return old >>> 0;
}

export const setuid = syscall({
  nr: 146,
  name: "setuid",
  args: [uid],
  handler: (t, id) => setId(t, USER, id),
});
export const setgid = syscall({
  nr: 144,
  name: "setgid",
  args: [uid],
  handler: (t, id) => setId(t, GROUP, id),
});
export const setreuid = syscall({
  nr: 145,
  name: "setreuid",
  args: [uid, uid],
  handler: (task, real, effective) => setRealEffective(task, USER, real, effective),
});
export const setregid = syscall({
  nr: 143,
  name: "setregid",
  args: [uid, uid],
  handler: (task, real, effective) => setRealEffective(task, GROUP, real, effective),
});
export const setresuid = syscall({
  nr: 147,
  name: "setresuid",
  args: [uid, uid, uid],
  handler: (task, ...ids) => setAll(task, USER, ids),
});
export const setresgid = syscall({
  nr: 149,
  name: "setresgid",
  args: [uid, uid, uid],
  handler: (task, ...ids) => setAll(task, GROUP, ids),
});
export const getresuid = syscall({
  nr: 148,
  name: "getresuid",
  args: [ptr, ptr, ptr],
  handler: (task, ...addresses) => getAll(task, USER, addresses),
});
export const getresgid = syscall({
  nr: 150,
  name: "getresgid",
  args: [ptr, ptr, ptr],
  handler: (task, ...addresses) => getAll(task, GROUP, addresses),
});
export const setfsuid = syscall({
  nr: 151,
  name: "setfsuid",
  args: [uid],
  handler: (t, id) => setFs(t, USER, id),
});
export const setfsgid = syscall({
  nr: 152,
  name: "setfsgid",
  args: [uid],
  handler: (t, id) => setFs(t, GROUP, id),
});

const NGROUPS_MAX = 65536;

export const getgroups = syscall({
  nr: 158,
  name: "getgroups",
  args: [int, ptr],
  handler(task, count, address) {
    const groups = Cred.groups.get(credOf(task));
    const length = groups === 0 ? 0 : arrayLength(groups);
    if (count < 0) return -EINVAL;
    if (count === 0) return length;
    if (count < length) return -EINVAL;
    const words = new Int32Array(length);
    for (let n = 0; n < length; n++) words[n] = arrayGet(groups as Ref<"array">, n);
    return copyToUser(address, new Uint8Array(words.buffer)) < 0 ? -EFAULT : length;
  },
});

export const setgroups = syscall({
  nr: 159,
  name: "setgroups",
  args: [int, ptr],
  handler(task, count, address) {
    if (!capable(task, CAP_SETGID)) return -EPERM;
    if (count < 0 || count > NGROUPS_MAX) return -EINVAL;
    const bytes = copyFromUser(address, count * 4);
    if (bytes === null) return -EFAULT;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const groups = count === 0 ? 0 : tryAllocTable(count);
    if (groups === 0 && count !== 0) return -ENOMEM;
    for (let n = 0; n < count; n++) arraySet(groups as Ref<"array">, n, view.getInt32(n * 4, true));
    return commitCred(task, { groups });
  },
});

const CAP_VERSION_3 = 0x20080522;
const CAP_VERSIONS = new Map([
  [0x19980330, 1],
  [0x20071026, 2],
  [CAP_VERSION_3, 2],
]);

/** Reads the header: number of data words, and the task it names. */
function capHeader(task: Ref<"task">, address: number): { words: number; of: Ref<"task"> } | number {
  const header = copyFromUser(address, 8);
  if (header === null) return -EFAULT;
  const view = new DataView(header.buffer, header.byteOffset, 8);
  const words = CAP_VERSIONS.get(view.getInt32(0, true));
  if (words === undefined) {
    if (faultIn(address, 4, ACCESS.WRITE) < 0) return -EFAULT;
    putUser32(address, CAP_VERSION_3);
    return -EINVAL;
  }
  const id = view.getInt32(4, true);
  if (id < 0) return -EINVAL;
  const of = id === 0 ? task : lookup(id);
  return of === 0 ? -ESRCH : { words, of };
}

export const capget = syscall({
  nr: 90,
  name: "capget",
  args: [ptr, ptr],
  handler(task, header, data) {
    const found = capHeader(task, header);
    if (typeof found === "number") return data === 0 && found === -EINVAL ? 0 : found;
    if (data === 0) return 0;
    const cred = Task.cred.access(found.of);
    if (cred === 0) return -ESRCH;
    const out = new Int32Array(found.words * 3);
    for (let word = 0; word < found.words; word++)
      [Cred.effective, Cred.permitted, Cred.inheritable].forEach((set, n) => {
        out[word * 3 + n] = set.get(cred, word);
      });
    return copyToUser(data, new Uint8Array(out.buffer));
  },
});

export const capset = syscall({
  nr: 91,
  name: "capset",
  args: [ptr, ptr],
  handler(task, header, data) {
    const found = capHeader(task, header);
    if (typeof found === "number") return found;
    if (found.of !== task) return -EPERM;
    const bytes = copyFromUser(data, found.words * 12);
    if (bytes === null) return -EFAULT;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const set = (n: number): CapWords => [
      view.getInt32(n * 4, true),
      found.words > 1 ? view.getInt32((n + 3) * 4, true) : 0,
    ];
    return commitCaps(task, set(0), set(1), set(2));
  },
});
