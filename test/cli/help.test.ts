/** What `--help` says: all that the parsers take, and nothing else; the READMEs name it too. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { parseBenchOptions } from "../../userland/bench/options.ts";
import { Failure } from "../../userland/cli/failure.ts";
import { parseRunOptions } from "../../userland/cli/run-options.ts";

const main = fileURLToPath(new URL("../../userland/cli/main.ts", import.meta.url));
const readme = (folder: string) => readFileSync(new URL(`../../${folder}README.md`, import.meta.url), "utf8");

/** The names of the options in a help text, without `--`. */
function optionsOf(...words: string[]): string[] {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words, "--help"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`sternix ${words.join(" ")} --help: status ${status}, ${stderr}`);
  return [...stdout.matchAll(/^ +--([a-z-]+)/gm)].map(([, name]) => name!);
}

/** What the parser says to an option: "" when it takes it as it is. */
function complaint(parse: () => unknown): string {
  try {
    parse();
    return "";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.message;
  }
}

test("sternix run takes each option of its help, and README.md names it", (t) => {
  const names = optionsOf("run");
  t.true(names.length > 8, names.join());
  for (const name of names) {
    t.notRegex(
      complaint(() => parseRunOptions([`--${name}`, "x"])),
      /unknown option/,
    );
    t.regex(readme(""), new RegExp(`^\\| \`--${name}\\b`, "m"));
  }
  t.regex(
    complaint(() => parseRunOptions(["--nothing", "x"])),
    /unknown option/,
  );
});

test("sternix bench tells its options behind a suite as well, takes each, and its README names it", (t) => {
  const names = optionsOf("bench", "tables");
  t.true(names.length > 12, names.join());
  for (const name of names) {
    t.notRegex(
      complaint(() => parseBenchOptions(["tables", `--${name}`])),
      /Unknown option/,
    );
    t.true(readme("userland/bench/").includes(`--${name}`), name);
  }
  t.regex(
    complaint(() => parseBenchOptions(["tables", "--nothing"])),
    /Unknown option/,
  );
});
