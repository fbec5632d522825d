/**
 * The progress line: on a terminal it is rewritten in place, elsewhere (a log) there is a new one every now and then. Who stops
 * making progress is ended (hang.ts).
 */
import { statusLine } from "../status-line.ts";
import type { HangWatch } from "./hang.ts";

export interface Progress {
  /** Step `done` of `of` begins. */
  at(done: number, of: number, what: string): void;
  /** One measurement more of this step. */
  beat(): void;
  /** How those who work look from outside, for the report of a hang; null: they are gone. */
  explain(state: (() => string) | null): void;
  clear(): void;
}

/** Milliseconds between two lines in a log. */
const LOG_EVERY = 10_000;
const MINUTE = 60_000;

/** "45 s", "12 min". */
const duration = (ms: number): string =>
  ms < 2 * MINUTE ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / MINUTE)} min`;

/** `limit`: milliseconds within which it is to end, by fewer rounds if need be. */
export function createProgress(
  watch: HangWatch,
  limit: number,
  stream: NodeJS.WriteStream = process.stderr,
): Progress {
  const started = performance.now();
  const status = statusLine(stream);
  let logged = started;
  return {
    at(done, of, what) {
      watch.beat(what);
      const now = performance.now();
      const elapsed = now - started;
      const asSoFar = done > 1 ? (elapsed / (done - 1)) * (of - done + 1) : null;
      const left = asSoFar !== null && elapsed < limit ? Math.min(asSoFar, limit - elapsed) : asSoFar;
      const line = `${done}/${of} ${duration(elapsed)}${left === null ? "" : ` (about ${duration(left)} left)`} ${what}`;
      if (stream.isTTY) status.show(line);
      else if (now - logged >= LOG_EVERY) {
        logged = now;
        stream.write(`${line}\n`);
      }
    },
    beat: () => watch.beat(),
    explain: (state) => watch.explain(state),
    clear: () => status.clear(),
  };
}
