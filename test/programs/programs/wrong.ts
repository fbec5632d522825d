import { program } from "../../../userland/programs/program.ts";

/** Programs that go wrong, each in its own way. */
export default program(function* (sys, argv) {
  switch (argv[1]) {
    case "throw":
      throw new Error("a mistake of the program");
    case "fault":
      sys.memory.load(16);
      break;
    case "caught":
      try {
        sys.memory.store(0, 1);
      } catch (error) {
        yield* sys.print(`${(error as Error).message}\n`);
      }
      break;
    case "efault":
      yield* sys.print(`${yield* sys.call("write", 1, 8, 4)}\n`);
      break;
    case "kill":
      yield* sys.kill(yield* sys.getpid(), 9);
  }
  return 0;
});
