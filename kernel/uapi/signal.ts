/** Signals of Linux on riscv64 (asm-generic): signal(7), sigaction(2), siginfo layout. */
export const SIGHUP = 1;
export const SIGINT = 2;
export const SIGQUIT = 3;
export const SIGILL = 4;
export const SIGTRAP = 5;
export const SIGABRT = 6;
export const SIGBUS = 7;
export const SIGFPE = 8;
export const SIGKILL = 9;
export const SIGUSR1 = 10;
export const SIGSEGV = 11;
export const SIGUSR2 = 12;
export const SIGPIPE = 13;
export const SIGALRM = 14;
export const SIGTERM = 15;
export const SIGSTKFLT = 16;
export const SIGCHLD = 17;
export const SIGCONT = 18;
export const SIGSTOP = 19;
export const SIGTSTP = 20;
export const SIGTTIN = 21;
export const SIGTTOU = 22;
export const SIGURG = 23;
export const SIGXCPU = 24;
export const SIGXFSZ = 25;
export const SIGVTALRM = 26;
export const SIGPROF = 27;
export const SIGWINCH = 28;
export const SIGIO = 29;
export const SIGPWR = 30;
export const SIGSYS = 31;
export const SIGRTMIN = 32;
export const SIGRTMAX = 64;
export const NSIG = 64;

const NAMES = [
  ..."0 SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2".split(
    " ",
  ),
  ..."SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG".split(" "),
  ..."SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS".split(" "),
];

/** SIGINT, SIGRTMIN, SIGRT_1 and so on, as strace writes them. */
export function signalName(signo: number): string {
  const name = NAMES[signo];
  if (name !== undefined) return name;
  return signo === SIGRTMIN ? "SIGRTMIN" : `SIGRT_${signo - SIGRTMIN}`;
}

/** Number of a signal given as "INT", "SIGINT", "SIGRTMIN", "SIGRT_1" or "2"; 0 when there is none of that name. */
export function signalNumber(text: string): number {
  const name = text.toUpperCase().replace(/^(SIG)?/, "SIG");
  const index = NAMES.indexOf(name);
  if (index > 0) return index;
  const realtime = name === "SIGRTMIN" ? 0 : Number(/^SIGRT_(\d+)$/.exec(name)?.[1]);
  if (realtime <= NSIG - SIGRTMIN) return SIGRTMIN + realtime;
  const number = Number(text);
  return Number.isInteger(number) && number >= 1 && number <= NSIG ? number : 0;
}

// sigaction flags.
export const SA_NOCLDSTOP = 1;
export const SA_NOCLDWAIT = 2;
export const SA_SIGINFO = 4;
export const SA_ONSTACK = 0x08000000;
export const SA_RESTART = 0x10000000;
export const SA_NODEFER = 0x40000000;
export const SA_RESETHAND = 0x80000000 | 0;

export const SIG_DFL = 0;
export const SIG_IGN = 1;

// sigprocmask.
export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;

// sigaltstack.
export const SS_ONSTACK = 1;
export const SS_DISABLE = 2;
export const SS_AUTODISARM = 0x80000000 | 0;
export const MINSIGSTKSZ = 2048;

// si_code.
export const SI_USER = 0;
export const SI_KERNEL = 0x80;
export const SI_QUEUE = -1;
export const SI_TIMER = -2;
export const SI_MESGQ = -3;
export const SI_ASYNCIO = -4;
export const SI_SIGIO = -5;
export const SI_TKILL = -6;
export const ILL_ILLOPC = 1;
export const FPE_INTDIV = 1;
export const SEGV_MAPERR = 1;
export const SEGV_ACCERR = 2;
export const BUS_ADRALN = 1;
export const BUS_ADRERR = 2;
export const TRAP_BRKPT = 1;
export const CLD_EXITED = 1;
export const CLD_KILLED = 2;
export const CLD_DUMPED = 3;
export const CLD_TRAPPED = 4;
export const CLD_STOPPED = 5;
export const CLD_CONTINUED = 6;

/** struct siginfo is 128 bytes. */
export const SIGINFO_BYTES = 128;
