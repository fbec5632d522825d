import { program } from "../../../userland/programs/program.ts";
import { type Sys, SysError } from "../../../userland/programs/sys.ts";
import * as uapi from "../../../userland/programs/uapi.ts";

/** Sockets, links, queued signals, and calls that have to succeed. */
export default program(function* (sys) {
  const [a, b] = yield* sys.socketpair(uapi.SOCK_STREAM);
  yield* sys.ok(sys.write(a, "ping"));
  yield* sys.ok(sys.shutdown(a, uapi.SHUT_WR));
  yield* sys.print(`received ${Buffer.from(yield* sys.ok(sys.readAll(b)))}\n`);

  const listener = yield* sys.ok(sys.socket(uapi.SOCK_STREAM | uapi.SOCK_NONBLOCK));
  yield* sys.ok(sys.bind(listener, "/tmp/listener"));
  yield* sys.ok(sys.listen(listener, 1));
  yield* sys.print(`nobody ${yield* sys.accept(listener)}\n`);
  const client = yield* sys.ok(sys.socket());
  yield* sys.ok(sys.connect(client, "/tmp/listener"));
  const server = yield* sys.ok(sys.accept(listener, uapi.SOCK_CLOEXEC));
  yield* sys.ok(sys.write(server, "from a path"));
  const into = new Uint8Array(64);
  yield* sys.print(`${Buffer.from(into.subarray(0, yield* sys.ok(sys.read(client, into))))}\n`);
  yield* sys.ok(sys.closeRange(a));
  yield* sys.print(`closed ${yield* sys.close(client)}\n`);

  yield* sys.ok(sys.close(yield* sys.ok(sys.open("/tmp/one", uapi.O_CREAT | uapi.O_WRONLY, 0o400))));
  yield* sys.ok(sys.link("/tmp/one", "/tmp/two"));
  yield* sys.ok(sys.symlink("two", "/tmp/three"));
  const [file, link] = [yield* sys.ok(sys.stat("/tmp/three")), yield* sys.ok(sys.lstat("/tmp/three"))];
  yield* sys.print(`links ${file.nlink} ${(link.mode & uapi.S_IFMT) === uapi.S_IFLNK}\n`);
  yield* sys.print(`access ${yield* sys.access("/tmp/two", 4)} ${yield* sys.access("/tmp/four")}\n`);

  let queued = 0;
  yield* sys.sigaction(uapi.SIGRTMIN + 3, () => {
    queued++;
  });
  const me = yield* sys.getpid();
  yield* sys.sigprocmask(uapi.SIG_BLOCK, 2 ** (uapi.SIGRTMIN + 2));
  for (let i = 0; i < 5; i++) yield* sys.ok(sys.sigqueue(me, uapi.SIGRTMIN + 3, i));
  yield* sys.print(`queued ${queued}`);
  yield* sys.sigprocmask(uapi.SIG_UNBLOCK, 2 ** (uapi.SIGRTMIN + 2));
  yield* sys.print(` delivered ${queued}\n`);

  yield* sys.print(`${yield* failure(sys)}\n`);
  // A handler's calls in between do not change whose error it is.
  yield* sys.sigaction(uapi.SIGALRM, function* () {
    yield* sys.getpid();
  });
  yield* sys.setitimer(10);
  try {
    yield* sys.ok(sys.sleep(5000));
  } catch (error) {
    yield* sys.print(`${(error as SysError).syscall} ${(error as SysError).code}\n`);
  }
  yield* sys.ok(sys.rmdir("/tmp/nowhere"));
});

function* failure(sys: Sys) {
  try {
    yield* sys.ok(sys.stat("/tmp/nowhere"));
    return "";
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return `${error.syscall} ${error.code} ${error.errno} ${error.message}`;
  }
}
