import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { cacheFolder, privateCacheFolder } from "../../userland/cli/cache-folder.ts";

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
const scratch = () => mkdtempSync(join(tmpdir(), "sternix-cache-"));

test("a private cache folder is made for its user alone", (t) => {
  const env = { XDG_CACHE_HOME: join(scratch(), "not", "there") };
  const folder = privateCacheFolder("compiled", env);
  t.is(folder, join(cacheFolder(env), "compiled"));
  t.is(statSync(folder!).mode & 0o777, 0o700);
  t.is(privateCacheFolder("compiled", env), folder, "and is found again");
});

test("a cache folder that another user may write to is not used", (t) => {
  for (const path of ["sternix", "sternix/compiled"]) {
    const base = scratch();
    mkdirSync(join(base, "sternix", "compiled"), { recursive: true, mode: 0o700 });
    chmodSync(join(base, path), 0o777);
    t.is(privateCacheFolder("compiled", { XDG_CACHE_HOME: base }), null, path);
  }
});

const asRoot = process.geteuid?.() === 0 ? test : test.skip;
asRoot("a cache folder of another user is not used", (t) => {
  for (const path of ["sternix", "sternix/compiled"]) {
    const base = scratch();
    mkdirSync(join(base, "sternix", "compiled"), { recursive: true, mode: 0o700 });
    chownSync(join(base, path), 1000, 1000);
    t.is(privateCacheFolder("compiled", { XDG_CACHE_HOME: base }), null, path);
  }
});

test("without a cache folder the command works, and leaves none where all users write", (t) => {
  const base = scratch();
  writeFileSync(join(base, "file"), "");
  mkdirSync(join(base, "tmp"));
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  const run = (cache: string) =>
    spawnSync(process.execPath, [main, "--version"], {
      encoding: "utf8",
      env: { ...env, TMPDIR: join(base, "tmp"), XDG_CACHE_HOME: join(base, cache) },
    });
  const without = run("file");
  t.deepEqual([without.status, without.stderr], [0, ""]);
  t.is(run("cache").status, 0);
  t.true(readdirSync(join(base, "cache/sternix/compiled")).length > 0);
  t.deepEqual(readdirSync(join(base, "tmp")), []);
});
