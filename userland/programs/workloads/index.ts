/** The workloads by name: what `sternix run workload:NAME` and `sternix bench workloads` run, and build.mjs puts into dist/. */
import { fileURLToPath } from "node:url";

export const WORKLOADS = [
  "fd-churn",
  "stat-storm",
  "pipe-ring",
  "fork-tree",
  "futex-ping-pong",
  "signal-storm",
  "epoll-server",
  "mix",
] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

/** Host path of the workload's module: in the sources beside this file; in dist/ beside its chunk. */
export function workloadPath(name: WorkloadName): string {
  const file = import.meta.url.endsWith(".ts") ? `./${name}.ts` : `./workload-${name}.js`;
  return fileURLToPath(new URL(file, import.meta.url));
}
