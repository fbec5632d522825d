/**
 * What NETLINK_ROUTE answers, rtnetlink(7): the interface, its addresses, the routes of the local table. Messages are
 * a header and attributes (u16 length, u16 type, data, padded to 4).
 */
import { ENODEV, EOPNOTSUPP } from "../uapi/errno.ts";
import {
  ARPHRD_LOOPBACK,
  IFA_ADDRESS,
  IFA_CACHEINFO,
  IFA_F_PERMANENT,
  IFA_FLAGS,
  IFA_LABEL,
  IFA_LOCAL,
  IFF_LOWER_UP,
  IFLA_ADDRESS,
  IFLA_BROADCAST,
  IFLA_IFNAME,
  IFLA_LINKMODE,
  IFLA_MTU,
  IFLA_OPERSTATE,
  IFLA_QDISC,
  IFLA_TXQLEN,
  NLM_F_DUMP,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_TABLE_LOCAL,
  RTA_DST,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_TABLE,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTPROT_KERNEL,
} from "../uapi/netlink.ts";
import { AF_INET, AF_INET6, AF_UNSPEC } from "../uapi/socket.ts";
import { LOOPBACK } from "./netif.ts";

/** One message of an answer: its type, and what follows struct nlmsghdr. */
export interface RouteMessage {
  readonly type: number;
  readonly payload: Uint8Array;
}

const u32 = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

/** A fixed part and its attributes. */
function message(
  type: number,
  fixed: Uint8Array,
  attributes: readonly (readonly [number, Uint8Array])[],
): RouteMessage {
  const padded = (length: number): number => (length + 3) & ~3;
  const total = attributes.reduce((sum, [, data]) => sum + padded(4 + data.length), fixed.length);
  const payload = new Uint8Array(total);
  const view = new DataView(payload.buffer);
  payload.set(fixed);
  let at = fixed.length;
  for (const [attribute, data] of attributes) {
    view.setUint16(at, 4 + data.length, true);
    view.setUint16(at + 2, attribute, true);
    payload.set(data, at + 4);
    at += padded(4 + data.length);
  }
  return { type, payload };
}

const NO_HARDWARE = new Uint8Array(6);

/** struct ifinfomsg: u8 family, padding, u16 type, i32 index, u32 flags, u32 change. */
function link(): RouteMessage {
  const fixed = new Uint8Array(16);
  const view = new DataView(fixed.buffer);
  view.setUint16(2, ARPHRD_LOOPBACK, true);
  view.setInt32(4, LOOPBACK.index, true);
  view.setUint32(8, LOOPBACK.flags | IFF_LOWER_UP, true);
  return message(RTM_NEWLINK, fixed, [
    [IFLA_IFNAME, text(LOOPBACK.name)],
    [IFLA_TXQLEN, u32(LOOPBACK.txQueueLength)],
    [IFLA_OPERSTATE, new Uint8Array(1)],
    [IFLA_LINKMODE, new Uint8Array(1)],
    [IFLA_MTU, u32(LOOPBACK.mtu)],
    [IFLA_QDISC, text("noqueue")],
    [IFLA_ADDRESS, NO_HARDWARE],
    [IFLA_BROADCAST, NO_HARDWARE],
  ]);
}

const LOOPBACK4 = Uint8Array.of(127, 0, 0, 1);
const LOOPBACK6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const FOREVER = 0xffffffff;

/** struct ifaddrmsg: u8 family, prefix length, flags, scope, u32 index. */
function interfaceAddress(family: number): RouteMessage {
  const four = family === AF_INET;
  const fixed = new Uint8Array(8);
  fixed.set([family, four ? 8 : 128, IFA_F_PERMANENT, RT_SCOPE_HOST, LOOPBACK.index]);
  const own = four ? LOOPBACK4 : LOOPBACK6;
  return message(RTM_NEWADDR, fixed, [
    [IFA_ADDRESS, own],
    ...(four
      ? ([
          [IFA_LOCAL, own],
          [IFA_LABEL, text(LOOPBACK.name)],
        ] as const)
      : []),
    [IFA_FLAGS, u32(IFA_F_PERMANENT)],
    [IFA_CACHEINFO, u32(FOREVER, FOREVER, 0, 0)],
  ]);
}

/** struct rtmsg: u8 family, destination and source bits, tos, table, protocol, scope, type, u32 flags. */
function route(family: number, bits: number, kind: number, destination: Uint8Array): RouteMessage {
  const fixed = new Uint8Array(12);
  const scope = kind === RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
  fixed.set([family, bits, 0, 0, RT_TABLE_LOCAL, RTPROT_KERNEL, family === AF_INET ? scope : 0, kind]);
  return message(RTM_NEWROUTE, fixed, [
    [RTA_TABLE, u32(RT_TABLE_LOCAL)],
    [RTA_DST, destination],
    ...(family === AF_INET ? ([[RTA_PREFSRC, LOOPBACK4]] as const) : []),
    [RTA_OIF, u32(LOOPBACK.index)],
  ]);
}

const routes = (family: number): RouteMessage[] =>
  family === AF_INET6
    ? [route(AF_INET6, 128, RTN_LOCAL, LOOPBACK6)]
    : [
        route(AF_INET, 8, RTN_LOCAL, Uint8Array.of(127, 0, 0, 0)),
        route(AF_INET, 32, RTN_LOCAL, LOOPBACK4),
        route(AF_INET, 32, RTN_BROADCAST, Uint8Array.of(127, 255, 255, 255)),
      ];

/** The answer to one request: messages, or -errno. `payload` is what follows its struct nlmsghdr. */
export function routeRequest(type: number, flags: number, payload: Uint8Array): RouteMessage[] | number {
  const dump = (flags & NLM_F_DUMP) !== 0;
  const family = payload[0] ?? AF_UNSPEC;
  const families = [AF_INET, AF_INET6].filter((one) => family === AF_UNSPEC || family === one);
  if (type === RTM_GETLINK) return dump || namesLoopback(payload) ? [link()] : -ENODEV;
  if (!dump) return -EOPNOTSUPP;
  if (type === RTM_GETADDR) return families.map(interfaceAddress);
  if (type === RTM_GETROUTE) return families.flatMap(routes);
  return -EOPNOTSUPP;
}

/** Does a struct ifinfomsg with its attributes mean lo, by number or by IFLA_IFNAME? */
function namesLoopback(payload: Uint8Array): boolean {
  if (payload.length < 16) return false;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const index = view.getInt32(4, true);
  if (index !== 0) return index === LOOPBACK.index;
  for (let at = 16; at + 4 <= payload.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > payload.length) return false;
    const name = new TextDecoder().decode(payload.subarray(at + 4, at + length)).replace(/\0.*$/s, "");
    if (view.getUint16(at + 2, true) === IFLA_IFNAME) return name === LOOPBACK.name;
    at += (length + 3) & ~3;
  }
  return false;
}
