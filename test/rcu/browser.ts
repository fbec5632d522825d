/**
 * sternix-rcu in a browser: serves the package that `npm run build` laid out and a page that uses it, cross-origin isolated, to a headless
 * Chromium, and says what the page found. `node test/rcu/browser.ts [PROGRAM]`; without a browser on this computer it says so, with status 0.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

interface Result {
  readonly what: string;
  readonly ok: boolean;
  readonly actual: string;
  readonly expected: string;
}

const LIMIT_MS = 180_000;
const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const FOLDERS = { "/package/": at("../../dist/sternix-rcu/"), "/": at("browser/") };

function findBrowser(): string | undefined {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  return names.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}

const browser = process.argv[2] ?? findBrowser();
if (browser === undefined) {
  console.log("no Chromium here: the browser test is skipped");
  process.exit(0);
}
if (!existsSync(FOLDERS["/package/"])) throw new Error("no dist/sternix-rcu: run npm run build first");

const { promise: end, resolve, reject } = Promise.withResolvers<void>();
let right = 0;
function note({ what, ok, actual, expected }: Result): void {
  console.log(ok ? `ok      ${what}` : `WRONG   ${what}: ${actual}, not ${expected}`);
  if (ok) right++;
  else process.exitCode = 1;
}

const server = createServer((request, response) => {
  const path = request.url === "/" ? "/index.html" : request.url!;
  if (request.method === "POST") {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      if (path === "/end") resolve();
      else note(JSON.parse(body));
      response.end();
    });
    return;
  }
  const [prefix, folder] = Object.entries(FOLDERS).find(([start]) => path.startsWith(start))!;
  const file = join(folder, path.slice(prefix.length));
  if (!file.startsWith(folder) || !existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
  });
  response.end(readFileSync(file));
});
await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
const { port } = server.address() as AddressInfo;

const profile = mkdtempSync(join(tmpdir(), "sternix-browser-"));
const child = spawn(
  browser,
  [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--user-data-dir=${profile}`,
    `http://127.0.0.1:${port}/`,
  ],
  { stdio: ["ignore", "ignore", "pipe"] },
);
let said = "";
child.stderr.setEncoding("utf8").on("data", (part) => (said += part));
const gone = new Promise((ended) => child.once("exit", ended));
child.once("error", reject);
void gone.then((code) => reject(new Error(`${browser} ended with ${code}:\n${said}`)));
const limit = setTimeout(
  () => reject(new Error(`no results within ${LIMIT_MS / 1000} s:\n${said}`)),
  LIMIT_MS,
);

try {
  await end;
  if (right === 0) throw new Error("the page had nothing to say");
} finally {
  clearTimeout(limit);
  child.kill();
  await gone;
  server.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
