import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { packTar } from "modern-tar";
import { Failure } from "../../userland/cli/failure.ts";
import {
  type FetchOptions,
  fetchNpmProgram,
  parseNpmProgram,
  type RunNpm,
} from "../../userland/cli/npm-package.ts";

const scratch = (name: string) => mkdtempSync(join(tmpdir(), `sternix-${name}-`));

interface Registry {
  readonly npm: RunNpm;
  readonly calls: string[][];
  readonly integrity: string;
}

/** An npm that packs one package. */
async function registry(files: Record<string, string>, version = "1.2.3"): Promise<Registry> {
  const tar = await packTar(
    Object.entries(files).map(([name, body]) => ({
      header: { name: `package/${name}`, size: Buffer.byteLength(body), type: "file" as const, mode: 0o755 },
      body,
    })),
  );
  const tarball = gzipSync(tar);
  const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
  const calls: string[][] = [];
  return {
    integrity,
    calls,
    npm: async (args, cwd) => {
      calls.push([...args]);
      writeFileSync(join(cwd, "scope-tool-1.2.3.tgz"), tarball);
      return JSON.stringify([{ filename: "scope-tool-1.2.3.tgz", version, integrity }]);
    },
  };
}

const withLock = (integrity: string, version = "1.2.3") => {
  const from = scratch("lock");
  const packages = { "node_modules/@scope/tool": { version, integrity } };
  writeFileSync(join(from, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, packages }));
  return from;
};

const failureOf = async (t: ExecutionContext, work: Promise<unknown>): Promise<Failure> =>
  (await t.throwsAsync(work, { instanceOf: Failure })) as Failure;

test("the name, version and path of a program are told apart", (t) => {
  t.deepEqual(parseNpmProgram("npm:@a/b@1.0.0/bin/x"), { name: "@a/b", version: "1.0.0", path: "bin/x" });
  t.deepEqual(parseNpmProgram("npm:@a/b/bin/x"), { name: "@a/b", version: null, path: "bin/x" });
  t.deepEqual(parseNpmProgram("npm:b@^2.0.0/x"), { name: "b", version: "^2.0.0", path: "x" });
  for (const bad of ["npm:", "npm:b", "npm:@a/b", "npm:b/../../x", "npm:b//x", "npm:b@/x", "npm:a b/x"]) {
    t.throws(() => parseNpmProgram(bad), { instanceOf: Failure }, bad);
  }
});

test("a package is fetched once and then served from the cache", async (t) => {
  const { npm, calls } = await registry({ "bin/tool": "program" });
  const options: FetchOptions = { npm, cache: scratch("cache"), from: scratch("from") };
  const program = parseNpmProgram("npm:@scope/tool@1.2.3/bin/tool");
  const first = await fetchNpmProgram(program, options);
  t.is(readFileSync(first, "utf8"), "program");
  t.is(await fetchNpmProgram(program, options), first);
  t.is(calls.length, 1);
  t.true(calls[0]!.includes("@scope/tool@1.2.3"));
  t.deepEqual(readdirSync(join(options.cache!, "npm")), ["@scope+tool@1.2.3"]);
});

test("the lock file chooses the version and its integrity is held", async (t) => {
  const { npm, calls, integrity } = await registry({ "bin/tool": "program" });
  const program = parseNpmProgram("npm:@scope/tool/bin/tool");
  const cache = scratch("cache");
  await fetchNpmProgram(program, { npm, cache, from: withLock(integrity) });
  t.true(calls[0]!.includes("@scope/tool@1.2.3"));
  await fetchNpmProgram(program, { npm, cache, from: withLock(integrity) });
  t.is(calls.length, 1);
});

test("a package that does not have the locked integrity is refused, cached or not", async (t) => {
  const { npm } = await registry({ "bin/tool": "evil" });
  const program = parseNpmProgram("npm:@scope/tool@1.2.3/bin/tool");
  const cache = scratch("cache");
  await fetchNpmProgram(program, { npm, cache, from: scratch("from") });
  const locked = withLock(`sha512-${createHash("sha512").update("other").digest("base64")}`);
  const error = await failureOf(t, fetchNpmProgram(program, { npm, cache, from: locked }));
  t.regex(error.message, /integrity/);
  t.is(error.status, 125);
});

test("a version that is none never becomes part of a path", async (t) => {
  const program = parseNpmProgram("npm:@scope/tool/bin/tool");
  for (const version of ["../..", "1.2.3/../../x", "1.2", "latest", "1.2.3 || 2"]) {
    const { npm, integrity, calls } = await registry({ "bin/tool": "program" }, version);
    const cache = scratch("cache");
    const locked = await failureOf(
      t,
      fetchNpmProgram(program, { npm, cache, from: withLock(integrity, version) }),
    );
    t.regex(locked.message, /package-lock\.json: ".*" is not a version of @scope\/tool$/);
    t.is(calls.length, 0);
    const reported = await failureOf(t, fetchNpmProgram(program, { npm, cache, from: scratch("from") }));
    t.is(reported.message, `npm:@scope/tool: npm reported the version ${version}`);
    t.deepEqual(readdirSync(cache), []);
  }
});

test("a cache folder that cannot be made is named, with the remedy", async (t) => {
  const { npm } = await registry({ "bin/tool": "program" });
  const cache = join(scratch("cache"), "file");
  writeFileSync(cache, "");
  const program = parseNpmProgram("npm:@scope/tool/bin/tool");
  const { message } = await failureOf(t, fetchNpmProgram(program, { npm, cache, from: scratch("from") }));
  t.regex(message, /^npm:@scope\/tool: the cache folder .* cannot be made \(ENOTDIR\): set XDG_CACHE_HOME/);
});

test("a lock file that is no JSON, and an npm that reports none, are named", async (t) => {
  const from = scratch("lock");
  writeFileSync(join(from, "package-lock.json"), "{");
  const program = parseNpmProgram("npm:@scope/tool/bin/tool");
  t.regex(
    (await failureOf(t, fetchNpmProgram(program, { from }))).message,
    /package-lock\.json: cannot be read/,
  );
  const silent = fetchNpmProgram(program, {
    npm: async () => "",
    cache: scratch("cache"),
    from: scratch("from"),
  });
  t.regex((await failureOf(t, silent)).message, /^npm:@scope\/tool: npm pack reported no JSON/);
});

test("a tarball that differs from what npm reported is refused", async (t) => {
  const { npm } = await registry({ "bin/tool": "program" });
  const lying: RunNpm = async (args, cwd) => {
    const output = JSON.parse(await npm(args, cwd));
    writeFileSync(join(cwd, output[0].filename), "truncated");
    return JSON.stringify(output);
  };
  const work = fetchNpmProgram(parseNpmProgram("npm:@scope/tool/bin/tool"), {
    npm: lying,
    cache: scratch("cache"),
    from: scratch("from"),
  });
  t.regex((await failureOf(t, work)).message, /integrity/);
});

test("a tarball cannot write outside the package's folder", async (t) => {
  const { npm } = await registry({ "bin/tool": "program", "../../../escaped": "x" });
  const cache = scratch("cache");
  const fetched = fetchNpmProgram(parseNpmProgram("npm:@scope/tool/bin/tool"), {
    npm,
    cache,
    from: scratch("from"),
  });
  await fetched.catch((error) => t.true(error instanceof Failure));
  const outside = readdirSync(cache, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.includes("escaped"),
  );
  t.deepEqual(
    outside.filter((name) => !name.includes("@1.2.3/")),
    [],
  );
});

test("a missing file in the package ends with 127, an unknown package too", async (t) => {
  const { npm } = await registry({ "bin/tool": "program" });
  const options = { npm, cache: scratch("cache"), from: scratch("from") };
  t.is(
    (await failureOf(t, fetchNpmProgram(parseNpmProgram("npm:@scope/tool/bin/none"), options))).status,
    127,
  );
  const refusing: RunNpm = async () => {
    throw Object.assign(new Error("exit 1"), {
      stderr: "npm error code E404\nnpm error 404 Not Found - no such thing\n",
    });
  };
  const error = await failureOf(
    t,
    fetchNpmProgram(parseNpmProgram("npm:none/x"), { ...options, npm: refusing }),
  );
  t.is(error.status, 127);
  t.regex(error.message, /^npm:none: npm could not fetch it: 404 Not Found/);
});

test("without npm on the PATH the remedy is named", async (t) => {
  const missing: RunNpm = async () => {
    throw Object.assign(new Error("spawn npm ENOENT"), { code: "ENOENT" });
  };
  const options = { npm: missing, cache: scratch("cache"), from: scratch("from") };
  const error = await failureOf(t, fetchNpmProgram(parseNpmProgram("npm:none/x"), options));
  t.regex(error.message, /needs npm/);
});
