import { readdirSync, readFileSync } from "node:fs";
import test from "ava";
import { type Case, hunt, replay } from "./hunt.ts";
import { show } from "./script.ts";

const FOLDER = new URL("corpus/", import.meta.url);
/** Each kind of machine gets half of it. */
const SECONDS = 20;
/** Always the same scripts: what changes from run to run is how far they get. `npm run fuzz` takes new ones. */
const SEED = 1;

for (const file of readdirSync(FOLDER)) {
  test.serial(`${file.replace(".json", "")}: the script that once found it finds nothing`, async (t) => {
    const { config, script }: Case = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
    t.deepEqual(await replay(config, script, 3), []);
  });
}

for (const debug of [false, true]) {
  test.serial(`random system calls find nothing${debug ? " in a debug machine" : ""}`, async (t) => {
    const lines: string[] = [];
    const { cases, rounds } = await hunt({
      seed: SEED,
      until: Date.now() + 1000 * (SECONDS / 2),
      cpus: 2,
      debug,
      shrinkMs: 0,
      log: (line) => lines.push(line),
    });
    for (const { script } of cases)
      lines.push(`npm run fuzz -- --seed ${script.seed} --count 1 --cpus 2`, show(script));
    t.is(lines.join("\n"), "");
    t.true(rounds > 0);
  });
}
