/** A reader of the property tests: looks at whatever collection is on the board, as often as it can. */
import { parentPort, workerData } from "node:worker_threads";
import {
  Heap,
  rcuIdleEnter,
  rcuIdleExit,
  rcuQuiescent,
  rcuReadLock,
  rcuReadUnlock,
  rcuRunCallbacks,
  stringText,
  tryAllocString,
} from "../../../rcu/index.ts";
import { Board, type ReaderData, STOP } from "./arena.ts";
import { LOOKS, type Look, Watch } from "./looks.ts";

const { buffer, board } = workerData as ReaderData;
const heap = Heap.attach({ buffer });

function complain(what: string): void {
  const message = tryAllocString(what);
  if (message !== 0) Board.failure.cas(board, 0, message);
}

let seen = 0;
let look: Look | null = null;
parentPort!.postMessage("ready");

for (;;) {
  const run = Board.run.load(board);
  if (run === STOP) break;
  if (run !== seen) {
    seen = run;
    look = null;
    if (run > 0)
      try {
        const [name, ...kinds] = stringText(Board.look.get(board)).split(" ");
        look = LOOKS[name!]!(new Watch(board, Board.at.get(board), Board.at2.get(board), kinds));
      } catch (error) {
        complain(`${String(error)} when it opened the collection`);
      }
    Board.acks.add(board, 1);
    Board.acks.notify(board);
  }
  if (look === null) {
    rcuIdleEnter();
    Board.run.wait(board, run);
    rcuIdleExit();
    continue;
  }
  const scope = rcuReadLock();
  try {
    look(scope);
  } catch (error) {
    complain((error as Error).message);
  }
  rcuReadUnlock();
  Board.looks.add(board, 1);
  rcuQuiescent();
  rcuRunCallbacks();
}
heap.detach();
