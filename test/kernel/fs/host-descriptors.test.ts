import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import "../../../kernel/fs/hostfs/index.ts";
import { changeMode } from "../../../kernel/fs/attr.ts";
import { nd } from "../../../kernel/fs/namei.ts";
import { renamePath } from "../../../kernel/fs/rename.ts";
import { mountHost } from "../../../kernel/fs/vfs.ts";
import { AT_FDCWD } from "../../../kernel/uapi/fcntl.ts";
import { close, get, list, lookup, mkdir, open, pread, put, unlink } from "./calls.ts";
import { bootMachine, safePoint, settle } from "./machine.ts";

const { task } = bootMachine();
const temporary = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "sternix-host-fds-")));
const FOLDERS = 300;
const many = path.join(temporary, "many");
for (let n = 0; n < FOLDERS; n++) {
  fs.mkdirSync(path.join(many, `d${n}`), { recursive: true });
  fs.writeFileSync(path.join(many, `d${n}`, "f"), `d${n}`);
}
const host = path.join(temporary, "rw");
fs.mkdirSync(host);
if (mountHost(many, "/many", false) !== 0 || mountHost(host, "/rw", true) !== 0) throw new Error("mount");
test.after.always(() => fs.rmSync(temporary, { recursive: true }));

/** In a process with `limit` descriptors. */
function walk(limit: number, safePoints: string): { wrong: number; most: number; left: number } {
  const script = fileURLToPath(new URL("./descriptor-walk.ts", import.meta.url));
  const command = `ulimit -n ${limit} && exec "$0" "$@"`;
  const text = execFileSync("sh", ["-c", command, process.execPath, script, many, safePoints, "3"], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  return JSON.parse(text);
}
const onLinux = process.platform === "linux" ? test : test.skip;

onLinux("a walk over many folders and files holds at most 256 host descriptors", (t) => {
  const { wrong, most, left } = walk(4096, "yes");
  t.is(wrong, 0);
  t.true(most > 100 && most <= 256, `${most}`);
  t.is(left, 0, "what a lost CPU had open is closed");
});

onLinux("so does one without a grace period", (t) => {
  const { wrong, most, left } = walk(4096, "no");
  t.is(wrong, 0);
  t.true(most <= 256 + 8, `${most}`);
  t.is(left, 0);
});

onLinux("a process with few descriptors leaves some to others, and every listing is whole", (t) => {
  const { wrong, most } = walk(80, "no");
  t.is(wrong, 0);
  t.true(most <= 48, `${most}`);
});

test.serial("an open file whose name is gone stays what it is, however many others are opened", (t) => {
  const names = ["unlinked", "replaced", "linked"];
  for (const name of names) t.is(put(`/rw/${name}`, name), name.length);
  const fds = names.map((name) => open(`/rw/${name}`));
  fs.linkSync(path.join(host, "linked"), path.join(host, "other"));
  put("/rw/new", "new");
  t.is(unlink("/rw/unlinked"), 0);
  t.is(unlink("/rw/linked"), 0);
  t.is(renamePath(AT_FDCWD, "/rw/new", AT_FDCWD, "/rw/replaced", 0), 0);
  for (let round = 0; round < 2; round++)
    for (const name of list("/many")) {
      get(`/many/${name}/f`);
      safePoint(task);
    }
  for (const [n, fd] of fds.entries()) {
    // Past the page cache: the file grew on the host.
    t.is(new TextDecoder().decode(pread(fd, 100, 0) as Uint8Array), names[n]);
    close(fd);
  }
  t.is(get("/rw/replaced"), "new");
  settle(task);
});

test.serial("nothing that a guest makes or changes has set-id bits on the host", (t) => {
  const modeOf = (name: string): number => fs.statSync(path.join(host, name)).mode & 0o7777;
  close(open("/rw/made", 0o102, 0o6755));
  t.is(modeOf("made"), 0o755);
  t.is(lookup("/rw/made"), 0);
  t.is(changeMode(nd.mount, nd.inode, 0o6711), 0);
  t.is(modeOf("made"), 0o711);
  t.is(mkdir("/rw/folder", 0o3777), 0);
  t.is(modeOf("folder") & 0o6000, 0);
  fs.writeFileSync(path.join(host, "theirs"), "trusted");
  fs.chmodSync(path.join(host, "theirs"), 0o4755);
  t.is(put("/rw/theirs", "changed"), 7);
  t.is(modeOf("theirs"), 0o755, "nor what it writes to");
});
