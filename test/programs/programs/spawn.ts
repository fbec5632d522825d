import { program } from "../../../userland/programs/program.ts";

/** Runs riscv64 programs of the guest as children, and becomes one. */
export default program(function* (sys) {
  const [from, to] = yield* sys.pipe();
  yield* sys.spawn("/guest/hello", ["hello"], [], function* (child) {
    yield* child.dup2(to, 1);
    yield* child.close(to);
    yield* child.close(from);
  });
  yield* sys.close(to);
  const text = yield* sys.readAll(from);
  yield* sys.print(`child said: ${Buffer.from(text as Uint8Array).toString()}`);
  yield* sys.waitpid();
  yield* sys.spawn("/guest/none", ["none"], []);
  const missing = yield* sys.waitpid();
  yield* sys.print(`missing ${typeof missing === "number" ? missing : missing.status >> 8}\n`);
  yield* sys.execve("/guest/exit", ["exit", "21"], []);
  return 1;
});
