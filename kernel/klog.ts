/**
 * The kernel log: lines that CPUs write and the host prints. A CPU in its loop cannot use the console, so lines wait
 * in the heap; when too many wait, the newest are counted instead of kept.
 */
import {
  fixed,
  free,
  freeString,
  listAddTail,
  listDelRcu,
  listFirst,
  listNode,
  locked,
  type Ref,
  spinlock,
  stringText,
  struct,
  tryAlloc,
  tryAllocString,
  wide,
} from "../rcu/index.ts";
import { kernelGlobal } from "./global.ts";
import { nowNs } from "./time/clock.ts";

const MAX_LINES = 1000;

const Klog = struct("klog", {
  lock: spinlock(99),
  lines: listNode(),
  count: locked("lock"),
  lost: locked("lock"),
});
const KlogLine = struct("klog_line", { node: listNode(), text: fixed<Ref<"string">>(), time: wide() });

const theLog = kernelGlobal<Ref<"klog">>("klog");

export function klogInit(): void {
  const log = tryAlloc(Klog);
  if (log === 0) throw new Error("no memory for the kernel log");
  Klog.lines.init(log);
  theLog.init(log);
}

/** Adds a line (without newline) to the kernel log. Never fails: what does not fit is counted. */
export function klog(text: string): void {
  const log = theLog.get();
  if (log === 0) return void process.emitWarning(text, "KernelLog");
  const line = Klog.count.racy(log) < MAX_LINES ? tryAlloc(KlogLine) : 0;
  const string = line === 0 ? 0 : tryAllocString(text);
  if (line !== 0 && string === 0) free(KlogLine, line);
  const held = Klog.lock.lock(log);
  if (line !== 0 && string !== 0) {
    KlogLine.text.init(line, string);
    KlogLine.time.set(line, nowNs());
    listAddTail(held, Klog.lines.at(log), KlogLine.node.at(line));
    Klog.count.set(held, log, Klog.count.get(held, log) + 1);
  } else Klog.lost.set(held, log, Klog.lost.get(held, log) + 1);
  Klog.lock.unlock(log);
}

export interface LogLine {
  readonly text: string;
  /** Monotonic nanoseconds. */
  readonly time: number;
}

/** Takes the lines that wait, oldest first; the last one says how many were lost. */
export function drainKlog(): LogLine[] {
  const log = theLog.get();
  const lines: LogLine[] = [];
  if (Klog.count.racy(log) === 0 && Klog.lost.racy(log) === 0) return lines;
  const held = Klog.lock.lock(log);
  const head = Klog.lines.at(log);
  for (let node = listFirst(head); node !== 0; node = listFirst(head)) {
    const line = KlogLine.node.owner(node);
    const string = KlogLine.text.get(line);
    lines.push({ text: stringText(string), time: KlogLine.time.get(line) });
    listDelRcu(held, node);
    freeString(string);
    free(KlogLine, line);
  }
  Klog.count.set(held, log, 0);
  const lost = Klog.lost.get(held, log);
  Klog.lost.set(held, log, 0);
  Klog.lock.unlock(log);
  if (lost > 0) lines.push({ text: `${lost} lines of the kernel log were lost`, time: nowNs() });
  return lines;
}
