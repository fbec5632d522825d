import { program } from "../../../userland/programs/program.ts";

const O_RDWR_CREAT = 2 | 0o100;

/** Files, directories, errors: results are those of the man pages. */
export default program(function* (sys) {
  yield* sys.mkdir("/tmp/dir");
  const fd = yield* sys.open("/tmp/dir/file", O_RDWR_CREAT, 0o640);
  yield* sys.print(`write ${yield* sys.write(fd, "hällo")}\n`);
  yield* sys.print(`seek ${yield* sys.lseek(fd, 1, 0)}\n`);
  const buffer = new Uint8Array(16);
  const n = yield* sys.read(fd, buffer);
  yield* sys.print(`read ${n} ${Buffer.from(buffer.subarray(0, n)).toString()}\n`);
  const stat = yield* sys.fstat(fd);
  if (typeof stat !== "number")
    yield* sys.print(`size ${stat.size} mode ${(stat.mode & 0o777).toString(8)}\n`);
  const copy = yield* sys.dup2(fd, 20);
  yield* sys.print(`dup2 ${copy} close ${yield* sys.close(fd)} again ${yield* sys.close(fd)}\n`);
  yield* sys.symlink("file", "/tmp/dir/link");
  yield* sys.print(`readlink ${yield* sys.readlink("/tmp/dir/link")}\n`);
  yield* sys.chdir("/tmp/dir");
  yield* sys.print(`cwd ${yield* sys.getcwd()}\n`);
  yield* sys.rename("file", "other");
  const directory = yield* sys.open(".", 0o200000);
  const entries = yield* sys.getdents(directory);
  if (typeof entries !== "number") {
    const names = entries.map((entry) => entry.name).sort();
    yield* sys.print(`entries ${names.join(" ")}\n`);
  }
  yield* sys.print(`dangling ${yield* sys.open("link")}\n`);
  yield* sys.print(`rmdir ${yield* sys.rmdir("/tmp/dir")}\n`);
  yield* sys.unlink("link");
  yield* sys.unlink("other");
  yield* sys.print(`rmdir ${yield* sys.rmdir("/tmp/dir")}\n`);
  const big = new Uint8Array(300_000).fill(7);
  const bigFile = yield* sys.open("/tmp/big", O_RDWR_CREAT, 0o600);
  yield* sys.print(`big ${yield* sys.writeAll(bigFile, big)}\n`);
  yield* sys.lseek(bigFile, 0, 0);
  const back = yield* sys.readAll(bigFile);
  yield* sys.print(`same ${typeof back !== "number" && Buffer.compare(back, big) === 0}\n`);
});
