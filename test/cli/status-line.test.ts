import { PassThrough } from "node:stream";
import test from "ava";
import { statusLine } from "../../userland/status-line.ts";

/** What a terminal of so many columns is sent; undefined: no terminal. */
function shown(columns: number | undefined, use: (line: ReturnType<typeof statusLine>) => void): string {
  const stream = Object.assign(new PassThrough(), { isTTY: columns !== undefined, columns });
  use(statusLine(stream as unknown as NodeJS.WriteStream));
  let text = "";
  for (let part = stream.read(); part !== null; part = stream.read()) text += part;
  return text;
}

test("a status line never wraps, and goes without a trace", (t) => {
  const use = (line: ReturnType<typeof statusLine>) => {
    line.show("fetching a package");
    line.clear();
    line.clear();
  };
  t.is(shown(80, use), "\r\x1b[2Kfetching a package\r\x1b[2K");
  t.is(shown(9, use), "\r\x1b[2Kfetching\r\x1b[2K");
  for (const none of [0, 1, undefined]) t.is(shown(none, use), "", `${none} columns`);
});
