/** Prints /proc/PID/wchan of the process that it is given. */
import { program } from "../../../userland/index.ts";

export default program(function* (sys, argv) {
  const fd = yield* sys.open(`/proc/${argv[1]}/wchan`, 0);
  yield* sys.print(Buffer.from((yield* sys.readAll(fd)) as Uint8Array).toString());
  return 0;
});
