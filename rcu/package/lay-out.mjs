/**
 * Lays out `sternix-rcu`, the package that has RCU alone: called by build.mjs, which has written the declarations. One file for
 * Node.js, Deno and Bun, one for browsers, the torture test, examples that run in all of them, and the documents.
 */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join, normalize } from "node:path";
import { build, transform } from "esbuild";

const NAME = "sternix-rcu";
/** Node.js 22 and what browsers have that know Atomics.waitAsync. */
const TARGET = ["node22", "chrome120", "safari17", "firefox145"];
const DOCUMENTS = {
  "guide.md": "README.md",
  "api.md": "api.md",
  "design.md": "design.md",
  "linux.md": "linux.md",
  "liburcu.md": "liburcu.md",
};

/** `out`: where to; `types`: the declarations of rcu/; `finish` is applied to each file of code. */
export async function layOutRcu(out, types, finish) {
  mkdirSync(out, { recursive: true });
  await bundle(
    out,
    finish,
    {
      index: "rcu/index.ts",
      kernel: "rcu/kernel.ts",
      torture: "rcu/package/torture.ts",
      "torture-worker": "rcu/torture/torture-worker.ts",
    },
    "node",
  );
  await bundle(out, finish, { web: "rcu/index.ts", "web-kernel": "rcu/kernel.ts" }, "browser");
  cpSync(types, join(out, "types"), {
    recursive: true,
    filter: (path) => !/\/(torture|bench|example|package)$/.test(path),
  });
  await examples(join(out, "example"));
  copyFileSync("LICENSE", join(out, "LICENSE"));
  copyFileSync("rcu/package/README.md", join(out, "README.md"));
  for (const [name, from] of Object.entries(DOCUMENTS)) copyFileSync(`rcu/${from}`, join(out, name));
  for (const name of ["README.md", ...Object.keys(DOCUMENTS)]) mendLinks(out, name);
  writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`);
}

function manifest() {
  const { version, license } = JSON.parse(readFileSync("package.json", "utf8"));
  return {
    name: NAME,
    version,
    description: "Read-copy-update for JavaScript threads: shared memory, collections, locks",
    keywords: ["rcu", "read-copy-update", "SharedArrayBuffer", "worker_threads", "lock-free", "concurrency"],
    type: "module",
    license,
    // From here on require() loads ES modules.
    engines: { node: ">=22.12" },
    bin: { "sternix-rcu-torture": "torture.js" },
    exports: {
      ".": { types: "./types/index.d.ts", browser: "./web.js", default: "./index.js" },
      "./kernel": { types: "./types/kernel.d.ts", browser: "./web-kernel.js", default: "./kernel.js" },
      "./package.json": "./package.json",
    },
  };
}

/** For a browser, platform-web.ts stands in for platform.ts. */
async function bundle(out, finish, entryPoints, platform) {
  const web = {
    name: "web",
    setup: ({ onResolve }) =>
      void onResolve({ filter: /\/platform\.ts$/ }, ({ resolveDir }) => ({
        path: join(resolveDir, "platform-web.ts"),
      })),
  };
  const { outputFiles } = await build({
    write: false,
    entryPoints,
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: platform === "browser" ? "neutral" : platform,
    plugins: platform === "browser" ? [web] : [],
    target: TARGET,
    sourcemap: "linked",
    sourcesContent: false,
    logLevel: "warning",
  });
  for (const { path, text } of outputFiles) writeFileSync(path, path.endsWith(".js") ? finish(text) : text);
}

/** As JavaScript that every runtime takes: without types, and without \`using\`. */
async function examples(out) {
  mkdirSync(out);
  for (const name of readdirSync("rcu/example")) {
    const source = readFileSync(`rcu/example/${name}`, "utf8").replaceAll(
      /"sternix\/rcu(\/\w+)?"/g,
      `"${NAME}$1"`,
    );
    const { code } = await transform(source, { loader: "ts", format: "esm", target: "node22" });
    writeFileSync(join(out, name.replace(/\.ts$/, ".js")), code);
  }
}

/**
 * Links of a document lead to files of the package: examples to their JavaScript, sources to their declarations. Those that would lead out
 * of it become plain text.
 */
function mendLinks(out, name) {
  const text = readFileSync(join(out, name), "utf8").replace(
    /\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)/g,
    (whole, words, target, anchor = "") => {
      if (/^[a-z]+:/.test(target)) return whole;
      const file = name === "README.md" || target !== "README.md" ? target : "guide.md";
      const candidates = [file, file.replace(/\.ts$/, ".js"), `types/${file.replace(/\.ts$/, ".d.ts")}`];
      const found = candidates.find((path) => existsSync(join(out, normalize(path))));
      return found === undefined ? words : `[${words}](${found}${anchor})`;
    },
  );
  writeFileSync(join(out, name), text.replaceAll(/([`"])sternix\/rcu(\/\w+)?([`"])/g, `$1${NAME}$2$3`));
}
