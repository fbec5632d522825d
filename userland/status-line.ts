/**
 * A line on a terminal that says what goes on, rewritten in place: for work of seconds and minutes. Whether there is a terminal, and
 * how wide it is, says the stream that the line goes to, not another one.
 */

export interface StatusLine {
  /** Shows `text` in place of what stands there; nothing where the stream is no terminal. */
  show(text: string): void;
  /** Leaves an empty line, for output that follows. */
  clear(): void;
}

export function statusLine(stream: NodeJS.WriteStream = process.stderr): StatusLine {
  let shown = false;
  return {
    show(text) {
      // A terminal of unknown width (0 columns, as a serial line has) cannot be rewritten: the line might have wrapped.
      const columns = stream.isTTY ? stream.columns : 0;
      if (columns < 2) return;
      stream.write(`\r\x1b[2K${text.slice(0, columns - 1)}`);
      shown = true;
    },
    clear() {
      if (shown) stream.write("\r\x1b[2K");
      shown = false;
    },
  };
}
