/** /dev nodes of subsystems: one driver for all, which the device number's minor leads to the right one. */
import type { Ref } from "../../rcu/index.ts";
import { makeNode } from "../fs/dir.ts";
import { File } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { DEFAULT_POLLMASK, FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import type { UserIo } from "../mm/iov.ts";
import { EFAULT, EINVAL, EIO, ENODEV, ENOTTY, ENXIO } from "../uapi/errno.ts";
import { AT_FDCWD } from "../uapi/fcntl.ts";
import { makedev, minor, S_IFCHR } from "../uapi/stat.ts";
import { SubsystemEvent } from "./context.ts";
import type { Device } from "./define.ts";
import { boundSubsystems, guard, type Instance, isDisabled } from "./guard.ts";
import { OpenFile } from "./view.ts";

/** First of the numbers that Linux leaves for local and experimental use. */
const MAJOR = 240;
/** One write to a device. */
const WRITE_MAX = 1 << 20;
const MODE_MASK = 0o777;

interface Found {
  readonly instance: Instance;
  readonly name: string;
  readonly device: Device<unknown>;
}
let devices: readonly Found[] = [];
let devicesOf: readonly Instance[] = [];

/** Devices of the bound machine, by minor number. */
function boundDevices(): readonly Found[] {
  const instances = boundSubsystems();
  if (devicesOf !== instances) {
    devicesOf = instances;
    devices = instances.flatMap((instance) =>
      Object.entries(instance.subsystem.devices ?? {}).map(([name, device]) => ({
        instance,
        name,
        device: device as Device<unknown>,
      })),
    );
  }
  return devices;
}

const deviceOf = (file: Ref<"file">): Found =>
  boundDevices()[minor(Inode.rdev.get(File.inode.get(file) as Ref<"inode">))]!;

const view = new OpenFile();
function viewOf(file: Ref<"file">): OpenFile {
  view.ref = file;
  return view;
}

function read(file: Ref<"file">, io: UserIo): number {
  const { instance, name, device } = deviceOf(file);
  if (isDisabled(instance)) return -ENODEV;
  if (device.read === undefined) return -EINVAL;
  const where = `read of /dev/${name}`;
  const size = io.remaining;
  const data = guard<Uint8Array | string | number>(
    instance,
    where,
    checked(device.read as never, size) as never,
    -EIO,
    viewOf(file),
    size,
  );
  if (typeof data === "number") return data;
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  if (bytes.length === 0) return 0;
  return io.copyTo(bytes, 0, bytes.length) === bytes.length ? bytes.length : -EFAULT;
}

/** More bytes than were asked for would be lost: that is the device's mistake. */
function checked(callback: (...args: unknown[]) => Uint8Array | string | number, size: number) {
  return (...args: unknown[]): Uint8Array | string | number => {
    const data = callback(...args);
    const length =
      typeof data === "string" ? Buffer.byteLength(data) : typeof data === "number" ? 0 : data.length;
    if (length > size) throw new RangeError(`${length} bytes where ${size} were asked for`);
    return data;
  };
}

function write(file: Ref<"file">, io: UserIo): number {
  const { instance, name, device } = deviceOf(file);
  if (isDisabled(instance)) return -ENODEV;
  if (device.write === undefined) return -EINVAL;
  const bytes = new Uint8Array(Math.min(io.remaining, WRITE_MAX));
  if (io.copyFrom(bytes, 0, bytes.length) !== bytes.length) return -EFAULT;
  const taken = guard(instance, `write to /dev/${name}`, device.write as never, -EIO, viewOf(file), bytes);
  // What was not taken is still to be written: the caller moves on by the result.
  if (taken < bytes.length) io.rewind(bytes.length - Math.max(taken, 0));
  return taken;
}

registerFileOps(FOPS.MODULE, {
  open(inode, file) {
    const found = boundDevices()[minor(Inode.rdev.get(inode))];
    if (found === undefined) return -ENXIO;
    if (isDisabled(found.instance)) return -ENODEV;
    if (found.device.open === undefined) return 0;
    const where = `open of /dev/${found.name}`;
    return guard(found.instance, where, found.device.open as never, -EIO, viewOf(file)) ?? 0;
  },
  read,
  write,
  poll(file) {
    const { instance, name, device } = deviceOf(file);
    if (device.poll === undefined || isDisabled(instance)) return DEFAULT_POLLMASK;
    return guard(instance, `poll of /dev/${name}`, device.poll as never, DEFAULT_POLLMASK, viewOf(file));
  },
  waitQueues(file, visit) {
    const { instance, name } = deviceOf(file);
    visit(SubsystemEvent.wait.at(instance.context.event(`/dev/${name}`)));
  },
  ioctl(file, command, argument) {
    const { instance, name, device } = deviceOf(file);
    if (isDisabled(instance)) return -ENODEV;
    if (device.ioctl === undefined) return -ENOTTY;
    const where = `ioctl of /dev/${name}`;
    const callback = ((context: never, one: { file: OpenFile; command: number; argument: number }) =>
      device.ioctl!(context, one.file, one.command, one.argument)) as never;
    return guard(instance, where, callback, -EIO, { file: viewOf(file), command, argument });
  },
  release(file) {
    const found = deviceOf(file);
    if (found?.device.release === undefined) return;
    guard(
      found.instance,
      `release of /dev/${found.name}`,
      found.device.release as never,
      undefined,
      viewOf(file),
    );
  },
});
registerCharDevice(MAJOR, -1, FOPS.MODULE);

/** Booting thread, /dev being mounted: makes the nodes of the bound machine. Throws when one is there already. */
export function makeDeviceNodes(): void {
  for (const [number, { instance, name, device }] of boundDevices().entries()) {
    const mode = S_IFCHR | ((device.mode ?? 0o600) & MODE_MASK);
    const path = `/dev/${name}`;
    const error = makeNode(AT_FDCWD, path, mode, makedev(MAJOR, number));
    if (error < 0)
      throw new Error(`${path} of subsystem ${instance.subsystem.name} cannot be made: errno ${-error}`);
    // The umask of the booting thread does not apply to devices.
    if (pathLookup(AT_FDCWD, path, LOOKUP_FOLLOW) === 0) Inode.mode.store(nd.inode, mode);
  }
}
