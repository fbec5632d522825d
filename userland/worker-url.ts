/**
 * Where the worker entry is: beside this file, in the sources as in dist/ (esbuild leaves `new URL` alone, so the
 * ending is chosen here).
 */
export const workerUrl = new URL(
  import.meta.url.endsWith(".ts") ? "./cpu-worker.ts" : "./cpu-worker.js",
  import.meta.url,
);
