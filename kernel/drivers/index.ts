/** Loads every driver: each worker imports it once, since operations are code. */
import "./mem.ts";
import "./pty.ts";
import "./random.ts";
import "./stdio.ts";
import "./tty-file.ts";
