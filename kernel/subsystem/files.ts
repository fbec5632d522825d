/** /proc/NAME and /sys/kernel/NAME of subsystems. Registered on CPUs: only they serve programs. */
import { type ProcFileOptions, procFile } from "../proc/index.ts";
import { EINVAL, EIO, ENODEV } from "../uapi/errno.ts";
import { accepted, content } from "./check.ts";
import { SubsystemEvent, SubsystemRecord } from "./context.ts";
import type { VirtualFile } from "./define.ts";
import { isDisabled } from "./fault.ts";
import { guard } from "./guard.ts";
import { type Instance, placeOf } from "./place.ts";

/** One write to a file: rules and the like are replaced whole, so they come in one write. */
const WRITE_MAX = 1 << 20;

export function registerFiles(instance: Instance): void {
  const { subsystem } = instance;
  const { name } = subsystem;
  if (subsystem.proc !== undefined) register(instance, name, `/proc/${name}`, subsystem.proc as never);
  for (const [file, spec] of Object.entries(subsystem.sys ?? {}))
    register(instance, `/sys/kernel/${name}/${file}`, `/sys/kernel/${name}/${file}`, spec as never);
  const { record } = instance.context;
  procFile(`/sys/kernel/${name}/state`, () => (isDisabled(instance) ? "disabled\n" : "enabled\n"), {
    write(_at, text) {
      const state = text.trim();
      if (state !== "enabled" && state !== "disabled") return -EINVAL;
      SubsystemRecord.disabled.store(record, state === "disabled" ? 1 : 0);
      if (state === "enabled") SubsystemRecord.faults.store(record, 0);
      return Buffer.byteLength(text);
    },
  });
  procFile(`/sys/kernel/${name}/faults`, () => `${SubsystemRecord.faults.load(record)}\n`);
}

function register(instance: Instance, node: string, path: string, file: VirtualFile<unknown>): void {
  const options: ProcFileOptions = {};
  if (file.mode !== undefined) options.mode = file.mode;
  const { read, write } = file;
  const reading = placeOf(instance, `read of ${path}`, content);
  const writing = placeOf(instance, `write to ${path}`, accepted);
  if (write !== undefined) {
    options.writeMax = WRITE_MAX;
    options.write = (_at, text, pos) => {
      if (isDisabled(instance)) return -ENODEV;
      const result = guard<number | undefined>(writing, write as never, -EIO, text, pos);
      return result === undefined || result >= 0 ? Buffer.byteLength(text) : result;
    };
  }
  if (file.pollable === true) {
    const event = instance.context.event(path);
    options.changes = () => SubsystemEvent.changes.load(event);
    options.waitQueue = () => SubsystemEvent.wait.at(event);
  }
  procFile(
    node,
    () => {
      if (isDisabled(instance)) return -ENODEV;
      if (read === undefined) return -EINVAL;
      return guard<string | Uint8Array | number>(reading, read as never, -EIO);
    },
    options,
  );
}
