/**
 * Where a thread loops that touches no shared memory: such a loop leaves its worker no way to say anything, so it is asked from
 * here, through the inspector.
 */
import { Session } from "node:inspector";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { CHECK, LOADING, SETUP } from "./world.ts";

export const partOf = (what: number, threads: readonly string[]): string =>
  what === LOADING
    ? "the top level of the module"
    : what === SETUP
      ? "setup"
      : what === CHECK
        ? "check"
        : `thread ${threads[what - 1] ?? what}`;

/** The place at which this process's only worker is now: "FILE:LINE", or "" when it does not say. */
export async function whereItIs(): Promise<string> {
  const session = new Session();
  const urls = new Map<string, string>();
  session.connect();
  try {
    const place = new Promise<string>((resolve) => {
      setTimeout(resolve, 5000, "").unref();
      session.on("NodeWorker.receivedMessageFromWorker", ({ params }) => {
        const message = JSON.parse(params.message) as {
          method?: string;
          params?: {
            scriptId?: string;
            url?: string;
            callFrames?: { location: { scriptId: string; lineNumber: number } }[];
          };
        };
        if (message.method === "Debugger.scriptParsed")
          urls.set(message.params!.scriptId!, message.params!.url!);
        if (message.method !== "Debugger.paused") return;
        // A thread that is paused cannot be terminated.
        session.post("NodeWorker.sendMessageToWorker", {
          sessionId: params.sessionId,
          message: JSON.stringify({ id: 3, method: "Debugger.resume" }),
        });
        const frame = message.params?.callFrames
          ?.map(({ location }) => ({ url: urls.get(location.scriptId) ?? "", line: location.lineNumber + 1 }))
          .find(
            ({ url }) => url.startsWith("file:") && !/\/(rcu|kernel|userland\/check)\/|\/dist\//.test(url),
          );
        resolve(
          frame === undefined ? "" : `${relative(process.cwd(), fileURLToPath(frame.url))}:${frame.line}`,
        );
      });
      session.on("NodeWorker.attachedToWorker", ({ params: { sessionId } }) => {
        for (const [n, method] of ["Debugger.enable", "Debugger.pause"].entries())
          session.post("NodeWorker.sendMessageToWorker", {
            sessionId,
            message: JSON.stringify({ id: n + 1, method }),
          });
      });
    });
    session.post("NodeWorker.enable", { waitForDebuggerOnStart: false });
    return await place;
  } finally {
    session.disconnect();
  }
}
