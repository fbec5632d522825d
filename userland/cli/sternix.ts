#!/usr/bin/env node
/**
 * The built command's first file: it asks for the right Node before anything is loaded that an older one would answer with a syntax
 * error. So it imports nothing, and uses nothing that is newer than modules.
 */
const NEEDED = "24.12";

const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
const [needMajor, needMinor] = NEEDED.split(".").map(Number) as [number, number];
if (major > needMajor || (major === needMajor && minor >= needMinor)) import("./main.ts");
else {
  process.stderr.write(
    `sternix: this is Node ${process.versions.node}; Sternix needs Node ${NEEDED} or newer\n`,
  );
  process.exitCode = 125;
}

export {};
