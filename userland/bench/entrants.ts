/** Who takes part in the benchmark of a table: the kernel's table behind each protocol, and other maps where keys are integers. */
import { PROTOCOLS } from "./locks.ts";
import type { ResultsBuilder } from "./results.ts";
import type { Contender } from "./table-worker.ts";
import { buildPeer, PEERS, packageVersion } from "./tables/peers.ts";
import type { TableBench } from "./tables/table.ts";

/** More entries than this and sharedmap takes minutes to fill. */
const SHAREDMAP_MAX = 65536;

export interface Entrant {
  readonly name: string;
  readonly strict: boolean;
  readonly contender: Contender;
  close(): Promise<void>;
}

/** Fills the other maps; the results learn what is not there, and the versions of what is. */
export function enter(
  table: TableBench,
  entries: number,
  wanted: (name: string) => boolean,
  results: ResultsBuilder,
): readonly Entrant[] {
  const close = async (): Promise<void> => {};
  const entrants: Entrant[] = PROTOCOLS.filter(wanted).map((protocol) => ({
    name: protocol,
    strict: protocol === "rcu-strict",
    contender: { kind: "protocol", protocol },
    close,
  }));
  if (table.integers !== true) return entrants;
  for (const peer of PEERS.filter(wanted)) {
    if (peer === "sharedmap" && entries > SHAREDMAP_MAX) {
      results.skip(`sharedmap with more than ${SHAREDMAP_MAX} entries: filling it takes minutes`);
      continue;
    }
    const made = buildPeer(peer, entries);
    if (made === null) {
      results.skip(`${peer}: not installed (npm install --no-save ${peer})`);
      continue;
    }
    const version = packageVersion(peer);
    if (version !== null) results.versions[peer] = version;
    entrants.push({
      name: peer,
      strict: false,
      contender: { kind: "peer", handle: made.handle },
      close: made.close,
    });
  }
  return entrants;
}
