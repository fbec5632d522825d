/**
 * Who closes a host descriptor: the thread that opened it, and nobody else.
 *
 * Node closes, when a Worker ends, every descriptor that the Worker opened and did not close itself, by its number, whatever that
 * means by then (trackUnmanagedFds). The CPUs' pool switches that off, but Workers inside a Worker that tracks cannot. So a
 * thread that evicts an inode gives the descriptor back to its opener, which closes it at the next occasion. What is left
 * when the machine stops is closed by the host's thread, or by Node where it tracks.
 */
import {
  alloc,
  defineReclaimer,
  fixed,
  free,
  locked,
  owned,
  type Ref,
  spinlock,
  struct,
} from "../../../rcu/index.ts";
import { kernelGlobal } from "../../global.ts";
import { thisCpu } from "../../sched/current.ts";
import { onIdleAndTick } from "../../sched/idle.ts";
import { Inode } from "../inode.ts";
import { closeHost } from "./host.ts";

/** How an inode keeps a descriptor in one word: its number + 1, and its opener's CPU + 1 (0: the host). 0: none is open. */
const FD_BITS = 24;
const fdOf = (word: number): number => (word & ((1 << FD_BITS) - 1)) - 1;
const openerOf = (word: number): number => (word >>> FD_BITS) - 1;

const Given = struct("host_fd", { word: fixed(), next: owned<Ref<"host_fd"> | 0>() });
const GivenBack = struct("host_fds", { lock: spinlock(), first: locked<"lock", Ref<"host_fd"> | 0>("lock") });
const givenBack = kernelGlobal<Ref<"host_fds">>("host descriptors");

/** Once per machine, at boot; false without memory. */
export function hostfsInit(): boolean {
  const ref = alloc(GivenBack);
  if (ref !== 0) givenBack.init(ref);
  return ref !== 0;
}

/** What this thread opened for the machine it works on, and keeps: for inodes, and the console's output. */
let opened = new Set<number>();

/** A thread that hosts several machines says which one it works on, by a set of its own for each. */
export function bindDescriptors(set: Set<number>): void {
  opened = set;
}

/** This thread opened `fd`, and the machine keeps it to its end. */
export const keepOpen = (fd: number): void => void opened.add(fd);

/** The descriptor that an inode keeps, -1 when there is none. */
export const keptDescriptor = (inode: Ref<"inode">, which: number): number =>
  fdOf(Inode.priv.get(inode, which));

/** Keeps a descriptor that this thread just opened, unless there is one by now; the one that is kept. */
export function keepDescriptor(inode: Ref<"inode">, which: number, fd: number): number {
  closeGivenBack();
  if (Inode.priv.cas(inode, which, 0, (fd + 1) | ((thisCpu() + 1) << FD_BITS))) opened.add(fd);
  else closeHost(fd);
  return fdOf(Inode.priv.load(inode, which));
}

/** Runs a grace period after nobody finds the descriptor any more: a handler may have been about to use it. */
export const dropDescriptor = defineReclaimer("host descriptor", (word: number) => {
  if (openerOf(word) === thisCpu()) close(fdOf(word));
  else giveBack(word);
  closeGivenBack();
});

function close(fd: number): void {
  opened.delete(fd);
  closeHost(fd);
}

function giveBack(word: number): void {
  const given = alloc(Given);
  // Without memory the opener closes it when the machine stops.
  if (given === 0) return;
  const list = givenBack.get();
  Given.word.init(given, word);
  const held = GivenBack.lock.lock(list);
  Given.next.set(given, GivenBack.first.get(held, list));
  GivenBack.first.set(held, list, given);
  GivenBack.lock.unlock(list);
}

/** Closes what other threads gave back to this one: a CPU before it sleeps and on its tick, and whoever opens or evicts. */
export function closeGivenBack(): void {
  const list = givenBack.get();
  if (GivenBack.first.racy(list) === 0) return;
  let mine: Ref<"host_fd"> | 0 = 0;
  const held = GivenBack.lock.lock(list);
  let previous: Ref<"host_fd"> | 0 = 0;
  for (let given = GivenBack.first.get(held, list); given !== 0; ) {
    const next = Given.next.get(given);
    if (openerOf(Given.word.get(given)) !== thisCpu()) previous = given;
    else {
      if (previous === 0) GivenBack.first.set(held, list, next);
      else Given.next.set(previous, next);
      Given.next.set(given, mine);
      mine = given;
    }
    given = next;
  }
  GivenBack.lock.unlock(list);
  while (mine !== 0) {
    const next: Ref<"host_fd"> | 0 = Given.next.get(mine);
    close(fdOf(Given.word.get(mine)));
    free(Given, mine);
    mine = next;
  }
}

onIdleAndTick(closeGivenBack);

/** What this thread leaves open when it is done with the machine. */
export const keptDescriptors = (): number[] => [...opened];

/** On the host's thread, when the machine has stopped: closes its own, and `others` that nobody else closes any more. */
export function closeDescriptors(others: readonly number[]): void {
  closeGivenBack();
  for (const fd of [...opened, ...others]) close(fd);
}
