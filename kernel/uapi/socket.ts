/** socket(2), unix(7): numbers of asm-generic/socket.h and linux/socket.h. */
export const AF_UNSPEC = 0;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const SOCK_TYPE_MASK = 0xf;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_DEBUG = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_DONTROUTE = 5;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_OOBINLINE = 10;
export const SO_PRIORITY = 12;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_RCVLOWAT = 18;
export const SO_SNDLOWAT = 19;
export const SO_RCVTIMEO = 20;
export const SO_SNDTIMEO = 21;
/** The same with 64-bit times, which on riscv64 the old ones have too. */
export const SO_RCVTIMEO_NEW = 66;
export const SO_SNDTIMEO_NEW = 67;
export const SO_ACCEPTCONN = 30;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_PROTOCOL = 38;
export const SO_DOMAIN = 39;

/** Levels of options, and protocols: netinet/in.h. */
export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
/** The highest of all. */
export const IPPROTO_MPTCP = 262;

/** netinet/tcp.h. */
export const TCP_NODELAY = 1;
export const TCP_MAXSEG = 2;
export const TCP_CORK = 3;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_SYNCNT = 7;
export const TCP_LINGER2 = 8;
export const TCP_DEFER_ACCEPT = 9;
export const TCP_QUICKACK = 12;
export const TCP_USER_TIMEOUT = 18;
export const TCP_FASTOPEN = 23;

/** linux/in.h, linux/in6.h. */
export const IP_TOS = 1;
export const IP_PKTINFO = 8;
export const IP_TTL = 2;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_FREEBIND = 15;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_TCLASS = 67;

export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;
/** Most descriptors in one SCM_RIGHTS message. */
export const SCM_MAX_FD = 253;

export const MSG_OOB = 0x1;
export const MSG_PEEK = 0x2;
export const MSG_DONTROUTE = 0x4;
export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_EOR = 0x80;
export const MSG_WAITALL = 0x100;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_WAITFORONE = 0x10000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

export const SOMAXCONN = 4096;

/** struct sockaddr_un: u16 family, 108 bytes of path. */
export const SOCKADDR_UN_PATH = 2;
export const SOCKADDR_UN_BYTES = 110;
/** struct sockaddr_in: u16 family; port and address in network order; padding. */
export const SOCKADDR_IN = { PORT: 2, ADDR: 4 } as const;
export const SOCKADDR_IN_BYTES = 16;
/** struct sockaddr_in6: u16 family; port, flow label and address in network order; scope. */
export const SOCKADDR_IN6 = { PORT: 2, ADDR: 8 } as const;
export const SOCKADDR_IN6_BYTES = 28;
/** Older programs leave the scope out. */
export const SOCKADDR_IN6_MIN = 24;

/** struct msghdr on a 64-bit machine. */
export const MSGHDR = {
  NAME: 0,
  NAMELEN: 8,
  IOV: 16,
  IOVLEN: 24,
  CONTROL: 32,
  CONTROLLEN: 40,
  FLAGS: 48,
  BYTES: 56,
} as const;
/** struct mmsghdr: msghdr, u32 msg_len, padding. */
export const MMSGHDR_BYTES = 64;
/** struct cmsghdr: u64 len, int level, int type, then data, each padded to 8. */
export const CMSGHDR_BYTES = 16;
/** struct ucred: pid, uid, gid. */
export const UCRED_BYTES = 12;
