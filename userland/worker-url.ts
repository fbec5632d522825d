/**
 * Where the worker entry is: beside this file, in the sources as in dist/ (esbuild leaves `new URL` alone, so the
 * ending is chosen here).
 */
import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";

export const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./cpu-worker.ts" : "./cpu-worker.js",
  import.meta.url,
);

/** Lets workers that start from now on use the compile cache of this thread, if it has one: they only look at the variable. */
export function shareCompileCache(): void {
  const folder = getCompileCacheDir();
  if (folder !== undefined) process.env.NODE_COMPILE_CACHE ??= dirname(folder);
}
