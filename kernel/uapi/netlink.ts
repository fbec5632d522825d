/** netlink(7), rtnetlink(7): numbers of linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h; netdevice(7). */
export const NETLINK_ROUTE = 0;

/** struct sockaddr_nl: u16 family, padding, u32 port id, u32 groups. */
export const SOCKADDR_NL = { PID: 4, GROUPS: 8, BYTES: 12 } as const;
/** struct nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence number, u32 port id. */
export const NLMSGHDR = { LEN: 0, TYPE: 4, FLAGS: 6, SEQ: 8, PID: 12, BYTES: 16 } as const;

export const NLM_F_REQUEST = 1;
export const NLM_F_MULTI = 2;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP = 0x300;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
/** Types below are of netlink itself, not of the protocol. */
export const NLMSG_MIN_TYPE = 16;

export const RTM_NEWLINK = 16;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_GETROUTE = 26;

/** Level of netlink's socket options. */
export const SOL_NETLINK = 270;
export const NETLINK_ADD_MEMBERSHIP = 1;
export const NETLINK_DROP_MEMBERSHIP = 2;
export const NETLINK_NO_ENOBUFS = 5;
export const NETLINK_EXT_ACK = 11;

export const IFLA_ADDRESS = 1;
export const IFLA_BROADCAST = 2;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_QDISC = 6;
export const IFLA_TXQLEN = 13;
export const IFLA_OPERSTATE = 16;
export const IFLA_LINKMODE = 17;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_LABEL = 3;
export const IFA_CACHEINFO = 6;
export const IFA_FLAGS = 8;
export const IFA_F_PERMANENT = 0x80;
export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_PREFSRC = 7;
export const RTA_TABLE = 15;
export const RT_TABLE_LOCAL = 255;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;
export const RTPROT_KERNEL = 2;
export const RTN_LOCAL = 2;
export const RTN_BROADCAST = 3;

export const ARPHRD_LOOPBACK = 772;
export const IFF_UP = 1;
export const IFF_LOOPBACK = 8;
export const IFF_RUNNING = 0x40;
export const IFF_LOWER_UP = 0x10000;

/** Request of ioctl(2) on a TCP socket: whether urgent data comes next, sockatmark(3). */
export const SIOCATMARK = 0x8905;
/** Requests of ioctl(2) on any socket; struct ifreq is 16 bytes of name and a union of 24. */
export const IFREQ = { NAME: 16, BYTES: 40 } as const;
export const SIOCGIFNAME = 0x8910;
export const SIOCGIFCONF = 0x8912;
export const SIOCGIFFLAGS = 0x8913;
export const SIOCGIFADDR = 0x8915;
export const SIOCGIFDSTADDR = 0x8917;
export const SIOCGIFBRDADDR = 0x8919;
export const SIOCGIFNETMASK = 0x891b;
export const SIOCGIFMETRIC = 0x891d;
export const SIOCGIFMTU = 0x8921;
export const SIOCGIFHWADDR = 0x8927;
export const SIOCGIFINDEX = 0x8933;
export const SIOCGIFTXQLEN = 0x8942;
