/** For orphan.test.ts: has a machine in a process of its own, says so, and waits until it is killed. */
import { Session } from "./session.ts";

// What is traced goes to standard output: the child keeps that open as long as it lives.
await Session.start({ cpus: 1, debug: false, memory: 64 << 20 }, 1);
process.stderr.write("started\n");
setInterval(() => {}, 60_000);
