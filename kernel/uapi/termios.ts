/** Terminal attributes, termios(3) (asm-generic/termbits.h). */

/** struct termios of TCGETS: four words of flags, c_line, 19 control characters. */
export const TERMIOS = { IFLAG: 0, OFLAG: 4, CFLAG: 8, LFLAG: 12, LINE: 16, CC: 17, BYTES: 36 } as const;
export const NCCS = 19;

// c_cc
export const VINTR = 0;
export const VQUIT = 1;
export const VERASE = 2;
export const VKILL = 3;
export const VEOF = 4;
export const VTIME = 5;
export const VMIN = 6;
export const VSWTC = 7;
export const VSTART = 8;
export const VSTOP = 9;
export const VSUSP = 10;
export const VEOL = 11;
export const VREPRINT = 12;
export const VDISCARD = 13;
export const VWERASE = 14;
export const VLNEXT = 15;
export const VEOL2 = 16;

// c_iflag
export const IGNBRK = 0o1;
export const BRKINT = 0o2;
export const ISTRIP = 0o40;
export const INLCR = 0o100;
export const IGNCR = 0o200;
export const ICRNL = 0o400;
export const IXON = 0o2000;
export const IMAXBEL = 0o20000;
export const IUTF8 = 0o40000;

// c_oflag
export const OPOST = 0o1;
export const ONLCR = 0o4;
export const OCRNL = 0o10;

// c_cflag
export const B38400 = 0o17;
export const CS8 = 0o60;
export const CREAD = 0o200;

// c_lflag
export const ISIG = 0o1;
export const ICANON = 0o2;
export const ECHO = 0o10;
export const ECHOE = 0o20;
export const ECHOK = 0o40;
export const ECHONL = 0o100;
export const NOFLSH = 0o200;
export const TOSTOP = 0o400;
export const ECHOCTL = 0o1000;
export const ECHOKE = 0o4000;
export const IEXTEN = 0o100000;

// TCFLSH
/** Arguments of TCXONC. */
export const TCOOFF = 0;
export const TCOON = 1;
export const TCIOFF = 2;
export const TCION = 3;
export const TCIFLUSH = 0;
export const TCOFLUSH = 1;
export const TCIOFLUSH = 2;

/** What a terminal starts with, as Linux's tty_std_termios. */
export const TTY_STD_TERMIOS = {
  iflag: ICRNL | IXON,
  oflag: OPOST | ONLCR,
  cflag: B38400 | CS8 | CREAD,
  lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
  /** ^C ^\ DEL ^U ^D, VTIME 0, VMIN 1, -, ^Q ^S ^Z -, ^R ^O ^W ^V -. */
  cc: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
} as const;

/** struct winsize: rows, columns, pixels twice; four u16. */
export const WINSIZE_BYTES = 8;
