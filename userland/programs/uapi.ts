/** The constants that programs pass to system calls, as the kernel's headers name them. */
export * from "../../kernel/uapi/epoll.ts";
export * from "../../kernel/uapi/errno.ts";
export * from "../../kernel/uapi/fcntl.ts";
export * from "../../kernel/uapi/futex.ts";
export * from "../../kernel/uapi/mman.ts";
export * from "../../kernel/uapi/poll.ts";
export * from "../../kernel/uapi/sched.ts";
export * from "../../kernel/uapi/signal.ts";
export * from "../../kernel/uapi/socket.ts";
export * from "../../kernel/uapi/stat.ts";
export * from "../../kernel/uapi/time.ts";
export * from "../../kernel/uapi/wait.ts";
