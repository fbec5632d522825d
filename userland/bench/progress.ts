/** The progress line: on a terminal it is rewritten in place, elsewhere (a log) there is a new one every now and then. */
export interface Progress {
  at(done: number, of: number, what: string): void;
  clear(): void;
}

/** Milliseconds between two lines in a log. */
const LOG_EVERY = 10_000;

export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  const started = performance.now();
  let logged = started;
  return {
    at(done, of, what) {
      const now = performance.now();
      const left = done > 1 ? ((now - started) / (done - 1)) * (of - done + 1) : null;
      const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`;
      const line = `${done}/${of} ${seconds(now - started)}${left === null ? "" : ` (about ${seconds(left)} left)`} ${what}`;
      if (stream.isTTY) stream.write(`\r\x1b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
      else if (now - logged >= LOG_EVERY) {
        logged = now;
        stream.write(`${line}\n`);
      }
    },
    clear() {
      if (stream.isTTY) stream.write("\r\x1b[2K");
    },
  };
}
