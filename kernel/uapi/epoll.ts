/** epoll(7), include/uapi/linux/eventpoll.h. */
export const EPOLL_CLOEXEC = 0o2000000;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;

export const EPOLLIN = 0x0001;
export const EPOLLPRI = 0x0002;
export const EPOLLOUT = 0x0004;
export const EPOLLERR = 0x0008;
export const EPOLLHUP = 0x0010;
export const EPOLLRDNORM = 0x0040;
export const EPOLLRDHUP = 0x2000;
export const EPOLLEXCLUSIVE = 1 << 28;
export const EPOLLWAKEUP = 1 << 29;
export const EPOLLONESHOT = 1 << 30;
export const EPOLLET = 1 << 31;

/** What EPOLLEXCLUSIVE may be combined with (epoll_ctl(2)). */
export const EPOLLEXCLUSIVE_OK =
  EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE | EPOLLRDNORM;

/** struct epoll_event on riscv64: u32 events, 4 bytes of padding, u64 data. */
export const EPOLL_EVENT_BYTES = 16;
/** Largest maxevents of epoll_wait (INT_MAX / sizeof(struct epoll_event)). */
export const EP_MAX_EVENTS = Math.floor(0x7fffffff / EPOLL_EVENT_BYTES);
/** How deep epoll descriptors may watch epoll descriptors. */
export const EP_MAX_NESTS = 4;
