import { program } from "../../../userland/programs/program.ts";

/** Parent and two children in a pipeline; exit statuses; what a fork shares. */
export default program(function* (sys, argv, env) {
  yield* sys.print(`argv ${argv.slice(1).join(",")} env ${env.GREETING}\n`);
  const parent = yield* sys.getpid();
  const [firstRead, firstWrite] = yield* sys.pipe();
  const [secondRead, secondWrite] = yield* sys.pipe();
  const source = yield* sys.fork(function* (child) {
    yield* child.close(firstRead);
    for (let i = 1; i <= 3; i++) yield* child.write(firstWrite, `line ${i}\n`);
    return 11;
  });
  yield* sys.close(firstWrite);
  const filter = yield* sys.fork(function* (child) {
    const text = yield* child.readAll(firstRead);
    yield* child.write(
      secondWrite,
      Buffer.from(text as Uint8Array)
        .toString()
        .toUpperCase(),
    );
    return (yield* child.getppid()) === parent ? 12 : 1;
  });
  yield* sys.close(secondWrite);
  const text = yield* sys.readAll(secondRead);
  yield* sys.print(Buffer.from(text as Uint8Array).toString());
  for (const pid of [source, filter]) {
    const waited = yield* sys.waitpid(pid);
    yield* sys.print(typeof waited === "number" ? `wait ${waited}\n` : `status ${waited.status >> 8}\n`);
  }
  yield* sys.print(`no child ${yield* sys.waitpid()}\n`);
  return 3;
});
