/** Machines for tests: no host folders, programs written into the guest's /bin. */
import { STREAM_PLAIN } from "../../../kernel/drivers/console.ts";
import { fput } from "../../../kernel/fs/file.ts";
import { vfsOpen } from "../../../kernel/fs/open.ts";
import { kernelWrite } from "../../../kernel/fs/read-write.ts";
import { Machine, type MachineOptions } from "../../../kernel/machine/machine.ts";
import type { Process } from "../../../kernel/machine/processes.ts";
import type { Ref } from "../../../rcu/index.ts";
import { tinyElf } from "./tiny-elf.ts";

const AT_FDCWD = -100;
const O_CREAT_WRONLY = 0o101;

export interface TestMachine {
  readonly machine: Machine;
  readonly log: string[];
  /** Starts a program given as instructions. */
  start(code: readonly number[]): Process;
  /** Starts an ELF file with these arguments. */
  startElf(bytes: Uint8Array, args?: readonly string[]): Process;
}

export async function bootTestMachine(
  cpus: number,
  worker: URL,
  more: Partial<MachineOptions> = {},
): Promise<TestMachine> {
  const log: string[] = [];
  const machine = await Machine.boot({
    cpus,
    memory: 64 << 20,
    heap: 128 << 20,
    worker,
    console: { stdin: STREAM_PLAIN, stdout: STREAM_PLAIN, stderr: STREAM_PLAIN },
    log: (line) => log.push(line),
    ...more,
  });
  let programs = 0;
  const startElf: TestMachine["startElf"] = (bytes, args = []) => {
    const path = `/bin/test-${programs++}`;
    machine.run(() => {
      const file = vfsOpen(AT_FDCWD, path, O_CREAT_WRONLY, 0o755);
      if (file < 0) throw new Error(`open ${path}: ${file}`);
      const written = kernelWrite(file as Ref<"file">, bytes, 0);
      if (written !== bytes.length) throw new Error(`write ${path}: ${written}`);
      fput(file as Ref<"file">);
    });
    return machine.spawn({ path, argv: [path, ...args], env: [], tty: false });
  };
  return { machine, log, startElf, start: (code) => startElf(tinyElf(code)) };
}

export const plainWorker = new URL("../../../userland/cpu-worker.ts", import.meta.url);
export const faultyWorker = new URL("./faulty-worker.ts", import.meta.url);
export const faultsWorker = new URL("./faults-worker.ts", import.meta.url);
