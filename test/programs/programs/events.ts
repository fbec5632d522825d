import { program } from "../../../userland/programs/program.ts";

/** epoll and poll over pipes and eventfds; clocks. */
export default program(function* (sys) {
  const [from, to] = yield* sys.pipe();
  const event = yield* sys.eventfd();
  const ep = yield* sys.epollCreate();
  yield* sys.epollCtl(ep, 1, from, 1);
  yield* sys.epollCtl(ep, 1, event, 1, 4242);
  yield* sys.print(`idle ${JSON.stringify(yield* sys.epollWait(ep, 8, 0))}\n`);
  yield* sys.fork(function* (child) {
    yield* child.sleep(10);
    yield* child.write(event, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  });
  yield* sys.print(`woken ${JSON.stringify(yield* sys.epollWait(ep, 8, -1))}\n`);
  yield* sys.waitpid();
  yield* sys.write(to, "x");
  const both = yield* sys.epollWait(ep, 8, 1000);
  yield* sys.print(`both ${typeof both === "number" ? both : both.length}\n`);
  const polled = yield* sys.poll(
    [
      { fd: from, events: 1 },
      { fd: to, events: 4 },
      { fd: 99, events: 1 },
    ],
    0,
  );
  yield* sys.print(`poll ${JSON.stringify(polled)}\n`);
  const before = yield* sys.clockGettime(1);
  yield* sys.sleep(15);
  yield* sys.print(`slept ${(yield* sys.clockGettime(1)) - before >= 15e6}\n`);
});
