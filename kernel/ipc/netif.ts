/**
 * The network interface that there is, lo, and what ioctl(2) on a socket says of it, netdevice(7). Nothing of it can be changed.
 */
import type { Ref } from "../../rcu/index.ts";
import { copyToUser, faultIn, getUser32, getUserU64, putUser32, strncpyFromUser } from "../mm/uaccess.ts";
import { EFAULT, EINVAL, ENODEV, ENOTTY } from "../uapi/errno.ts";
import {
  ARPHRD_LOOPBACK,
  IFF_LOOPBACK,
  IFF_RUNNING,
  IFF_UP,
  IFREQ,
  SIOCGIFADDR,
  SIOCGIFBRDADDR,
  SIOCGIFCONF,
  SIOCGIFDSTADDR,
  SIOCGIFFLAGS,
  SIOCGIFHWADDR,
  SIOCGIFINDEX,
  SIOCGIFMETRIC,
  SIOCGIFMTU,
  SIOCGIFNAME,
  SIOCGIFNETMASK,
  SIOCGIFTXQLEN,
} from "../uapi/netlink.ts";
import { AF_INET } from "../uapi/socket.ts";
import { ACCESS } from "../usermode.ts";
import { HOST_ANY, HOST_LOOPBACK, inetName } from "./inet-name.ts";
import { isInet } from "./sock.ts";

/** lo. Its addresses are 127.0.0.1/8 and ::1/128; it has no hardware. */
export const LOOPBACK = {
  index: 1,
  name: "lo",
  flags: IFF_UP | IFF_LOOPBACK | IFF_RUNNING,
  mtu: 65536,
  txQueueLength: 1000,
} as const;
const NETMASK = 0xff000000;
/** struct ifconf: int length, padding, pointer. */
const IFCONF_BYTES = 16;

/** A request as netdevice(7) has it: 0, -ENOTTY for one that is none, -ENODEV for an interface that does not exist. */
export function interfaceIoctl(sock: Ref<"sock">, command: number, address: number): number {
  if (command === SIOCGIFCONF) return isInet(sock) ? listInterfaces(address) : -ENOTTY;
  if (command === SIOCGIFNAME) {
    if (faultIn(address, IFREQ.BYTES, ACCESS.WRITE) < 0) return -EFAULT;
    return getUser32(address + IFREQ.NAME) === LOOPBACK.index ? putName(address) : -ENODEV;
  }
  const answer = ANSWERS.get(command);
  if (answer === undefined) return -ENOTTY;
  const value = answer();
  // Addresses are what a socket of that family asks for.
  if (value.length === IFREQ.BYTES - IFREQ.NAME && !isInet(sock)) return -ENOTTY;
  const name = strncpyFromUser(address, IFREQ.NAME);
  if (typeof name === "number") return name === -EFAULT ? name : -ENODEV;
  if (new TextDecoder().decode(name) !== LOOPBACK.name) return -ENODEV;
  return copyToUser(address + IFREQ.NAME, value) < 0 ? -EFAULT : 0;
}

const word = (value: number) => (): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
/** A struct sockaddr_in, with the rest of the union. */
function host(value: number): () => Uint8Array {
  return () => {
    const bytes = new Uint8Array(IFREQ.BYTES - IFREQ.NAME);
    bytes.set(inetName(AF_INET, value, 0));
    return bytes;
  };
}
/** A struct sockaddr of the hardware. */
const hardware = (): Uint8Array => {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint16(0, ARPHRD_LOOPBACK, true);
  return bytes;
};

const ANSWERS: ReadonlyMap<number, () => Uint8Array> = new Map([
  [SIOCGIFINDEX, word(LOOPBACK.index)],
  [SIOCGIFFLAGS, () => new Uint8Array(Int16Array.of(LOOPBACK.flags).buffer)],
  [SIOCGIFMETRIC, word(0)],
  [SIOCGIFMTU, word(LOOPBACK.mtu)],
  [SIOCGIFTXQLEN, word(LOOPBACK.txQueueLength)],
  [SIOCGIFHWADDR, hardware],
  [SIOCGIFADDR, host(HOST_LOOPBACK)],
  [SIOCGIFDSTADDR, host(HOST_LOOPBACK)],
  [SIOCGIFBRDADDR, host(HOST_ANY)],
  [SIOCGIFNETMASK, host(NETMASK)],
]);

const nameBytes = (): Uint8Array => {
  const bytes = new Uint8Array(IFREQ.NAME);
  new TextEncoder().encodeInto(LOOPBACK.name, bytes);
  return bytes;
};
const putName = (address: number): number => (copyToUser(address, nameBytes()) < 0 ? -EFAULT : 0);

/** SIOCGIFCONF: the interfaces that have an IPv4 address; without a buffer, how many bytes they take. */
function listInterfaces(address: number): number {
  if (faultIn(address, IFCONF_BYTES, ACCESS.WRITE) < 0) return -EFAULT;
  const room = getUser32(address);
  const buffer = getUserU64(address + 8);
  if (room < 0) return -EINVAL;
  const fits = buffer === 0 || room >= IFREQ.BYTES;
  if (buffer !== 0 && fits) {
    const entry = new Uint8Array(IFREQ.BYTES);
    entry.set(nameBytes());
    entry.set(host(HOST_LOOPBACK)(), IFREQ.NAME);
    if (copyToUser(buffer, entry) < 0) return -EFAULT;
  }
  putUser32(address, fits ? IFREQ.BYTES : 0);
  return 0;
}
