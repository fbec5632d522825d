/** The progress line: on a terminal it is rewritten in place, elsewhere there is none. */
export interface Progress {
  at(done: number, of: number, what: string): void;
  clear(): void;
}

export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { at: () => {}, clear: () => {} };
  const started = performance.now();
  return {
    at(done, of, what) {
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      const line = `${done}/${of} ${seconds} s ${what}`;
      stream.write(`\r\x1b[2K${line.slice(0, (stream.columns ?? 80) - 1)}`);
    },
    clear: () => void stream.write("\r\x1b[2K"),
  };
}
