/** The user's cache folder, and folders in it that nobody else can have written to. */
import { lstatSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where packages and compiled code are kept: $XDG_CACHE_HOME/sternix, or the platform's usual cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, "sternix");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "sternix");
  if (process.platform === "win32" && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, "sternix");
  return join(homedir(), ".cache", "sternix");
}

/**
 * A folder in the cache folder for what is run as it is read, such as V8's compiled code: made with mode 0700 if it is not there.
 * Null if it cannot be made, or if another user owns it or the cache folder, or may write there: then what lies in it may be
 * that user's code. (The cache folder may be its group's too, since a umask of 002 makes such folders for groups of one user.)
 */
export function privateCacheFolder(name: string, env: NodeJS.ProcessEnv = process.env): string | null {
  try {
    const parent = cacheFolder(env);
    const folder = join(parent, name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return isOurs(parent, 0o002) && isOurs(folder, 0o022) ? folder : null;
  } catch {
    return null;
  }
}

/** Whether this is a folder of this user, with none of the mode bits `forbidden`. */
function isOurs(folder: string, forbidden: number): boolean {
  const status = lstatSync(folder);
  if (!status.isDirectory()) return false;
  // Windows has neither owners nor modes here; the folders of a profile are its user's own there.
  if (process.geteuid === undefined) return true;
  return status.uid === process.geteuid() && (status.mode & forbidden) === 0;
}
