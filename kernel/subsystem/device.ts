/** /dev nodes of subsystems: one driver for all, which the device number's minor leads to the right one. */
import type { Ref } from "../../rcu/index.ts";
import { makeNode } from "../fs/dir.ts";
import { File } from "../fs/file.ts";
import { Inode } from "../fs/inode.ts";
import { LOOKUP_FOLLOW, nd, pathLookup } from "../fs/namei.ts";
import { DEFAULT_POLLMASK, type FileOps, FOPS, registerCharDevice, registerFileOps } from "../fs/ops.ts";
import { seekSized } from "../fs/regular.ts";
import type { UserIo } from "../mm/iov.ts";
import { EFAULT, EINVAL, EIO, ENODEV, ENOTTY, ENXIO } from "../uapi/errno.ts";
import { AT_FDCWD } from "../uapi/fcntl.ts";
import { makedev, minor, S_IFCHR } from "../uapi/stat.ts";
import { part, taken, value, verdict } from "./check.ts";
import { SubsystemEvent } from "./context.ts";
import type { Device } from "./define.ts";
import { fault, isDisabled } from "./fault.ts";
import { boundSubsystems, guard } from "./guard.ts";
import { SharedMemory } from "./memory.ts";
import { type Check, type DeviceCall, devicePlace, type Instance, type Place, placeOf } from "./place.ts";
import { OpenFile } from "./view.ts";

/** First of the numbers that Linux leaves for local and experimental use. */
const MAJOR = 240;
/** One write to a device. */
const WRITE_MAX = 1 << 20;
const MODE_MASK = 0o777;

/** Devices with positions: pread, lseek. They hold the position's spinlock around a read or write. */
const FOPS_SEEKABLE = FOPS.MODULE + 1;

interface Found {
  readonly instance: Instance;
  readonly name: string;
  readonly device: Device<unknown>;
  readonly places: Readonly<Record<DeviceCall, Place>>;
}
let devices: readonly Found[] = [];
let devicesOf: readonly Instance[] = [];

const CHECKS: Readonly<Record<DeviceCall, Check | null>> = {
  open: verdict,
  read: part,
  write: taken,
  poll: value,
  ioctl: value,
  size: value,
  mmap: null,
  release: null,
};

function findDevices(instance: Instance): Found[] {
  return Object.entries(instance.subsystem.devices ?? {}).map(([name, device]) => {
    const places = Object.fromEntries(
      Object.entries(CHECKS).map(([call, check]) => [
        call,
        placeOf(instance, devicePlace(call as DeviceCall, name), check),
      ]),
    ) as unknown as Found["places"];
    return { instance, name, device: device as Device<unknown>, places };
  });
}

/** Devices of the bound machine, by minor number. */
function boundDevices(): readonly Found[] {
  const instances = boundSubsystems();
  if (devicesOf !== instances) {
    devicesOf = instances;
    devices = instances.flatMap(findDevices);
  }
  return devices;
}

const deviceOf = (file: Ref<"file">): Found =>
  boundDevices()[minor(Inode.rdev.get(File.inode.get(file) as Ref<"inode">))]!;

const view = new OpenFile();
function viewOf(file: Ref<"file">, position = 0): OpenFile {
  view.ref = file;
  view.position = position;
  view.left = 0;
  return view;
}

function read(file: Ref<"file">, io: UserIo, pos: number): number {
  const { instance, device, places } = deviceOf(file);
  if (isDisabled(instance)) return -ENODEV;
  if (device.read === undefined) return -EINVAL;
  const size = io.remaining;
  const data = guard<Uint8Array | string | number>(
    places.read,
    device.read as never,
    -EIO,
    viewOf(file, pos),
    size,
  );
  if (typeof data === "number") return data;
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  if (bytes.length === 0) return 0;
  return io.copyTo(bytes, 0, bytes.length) === bytes.length ? bytes.length : -EFAULT;
}

function write(file: Ref<"file">, io: UserIo, pos: number): number {
  const { instance, device, places } = deviceOf(file);
  if (isDisabled(instance)) return -ENODEV;
  if (device.write === undefined) return -EINVAL;
  const whole = io.remaining;
  const bytes = new Uint8Array(Math.min(whole, WRITE_MAX));
  if (io.copyFrom(bytes, 0, bytes.length) !== bytes.length) return -EFAULT;
  const open = viewOf(file, pos);
  open.left = whole - bytes.length;
  const done = guard(places.write, device.write as never, -EIO, open, bytes);
  // What was not taken is still to be written: the caller moves on by the result.
  if (done < bytes.length) io.rewind(bytes.length - Math.max(done, 0));
  return done;
}

const driver: FileOps = {
  open(inode, file) {
    const found = boundDevices()[minor(Inode.rdev.get(inode))];
    if (found === undefined) return -ENXIO;
    if (isDisabled(found.instance)) return -ENODEV;
    if (found.device.size !== undefined) File.fops.set(file, FOPS_SEEKABLE);
    if (found.device.open === undefined) return 0;
    return guard<number | undefined>(found.places.open, found.device.open as never, -EIO, viewOf(file)) ?? 0;
  },
  read,
  write,
  poll(file) {
    const { instance, device, places } = deviceOf(file);
    if (device.poll === undefined || isDisabled(instance)) return DEFAULT_POLLMASK;
    return guard(places.poll, device.poll as never, DEFAULT_POLLMASK, viewOf(file));
  },
  waitQueues(file, visit) {
    const { instance, name } = deviceOf(file);
    visit(SubsystemEvent.wait.at(instance.context.event(`/dev/${name}`)));
  },
  ioctl(file, command, argument) {
    const { instance, device, places } = deviceOf(file);
    if (isDisabled(instance)) return -ENODEV;
    if (device.ioctl === undefined) return -ENOTTY;
    return guard(places.ioctl, device.ioctl as never, -EIO, viewOf(file), command, argument);
  },
  mmap(file) {
    const { instance, device, places } = deviceOf(file);
    if (isDisabled(instance) || device.mmap === undefined) return -ENODEV;
    const memory = guard<SharedMemory | number>(places.mmap, device.mmap as never, -EIO, viewOf(file));
    if (typeof memory === "number") return memory;
    if (memory instanceof SharedMemory) return memory.ref;
    fault(places.mmap, "answered what is not a table.memory: give that, or -errno", false);
    return -EIO;
  },
  release(file) {
    const found = deviceOf(file);
    if (found?.device.release === undefined) return;
    guard(found.places.release, found.device.release as never, undefined, viewOf(file));
  },
};
registerFileOps(FOPS.MODULE, driver);
registerFileOps(FOPS_SEEKABLE, {
  ...driver,
  seekable: true,
  lseek(file, offset, whence) {
    const { instance, device, places } = deviceOf(file);
    if (isDisabled(instance)) return -ENODEV;
    const size = guard(places.size, device.size as never, -EIO, viewOf(file));
    return size < 0 ? size : seekSized(size, File.pos.racy(file), offset, whence);
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
