/** What modules import by the names of the package while they are checked. */
import test from "ava";
import * as face from "../../userland/check/index.ts";
import * as inside from "../../userland/check/inside/check.ts";
import * as facade from "../../userland/check/inside/sternix.ts";
import * as sternix from "../../userland/index.ts";

const missing = (wanted: object, there: object) => Object.keys(wanted).filter((name) => !(name in there));

test("all that sternix exports is there for a module that is checked", (t) => {
  t.deepEqual(missing(sternix, facade), []);
});
test("all that sternix/check exports to scenarios is there, but for the checker itself", (t) => {
  t.deepEqual(missing(face, inside), ["check"]);
});
