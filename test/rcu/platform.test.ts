/** What RCU asks of its host: each platform has the same exports. test/rcu/browser.ts tries the other one where it belongs. */
import test from "ava";
import * as node from "../../rcu/platform.ts";
import * as web from "../../rcu/platform-web.ts";

test("a browser's platform has what that of Node.js has", (t) => {
  const kinds = (platform: object) =>
    Object.entries(platform)
      .map(([name, value]) => `${name}: ${typeof value}`)
      .sort();
  t.deepEqual(kinds(web), kinds(node));
});

test("a browser's thread number leaves room for the bits of a claim", (t) => {
  t.true(Number.isInteger(web.threadId));
  t.true(web.threadId >= 0 && web.threadId < 2 ** 29);
});
