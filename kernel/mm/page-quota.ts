/**
 * How many pages the files of one file system may have together: tmpfs(5), size=. The file system counts it, and each of its mappings,
 * which may outlive it.
 */
import { atomic, kfreeRcu, type Ref, struct, tryAlloc, wide } from "../../rcu/index.ts";

export const PageQuota = struct("page_quota", {
  refcount: atomic(),
  used: atomic(),
  /** Pages, or Infinity. Changed by remounting only. */
  limit: wide(),
});
type Q = Ref<"page_quota">;

/** A quota with one count; 0 when the heap is full. */
export function newPageQuota(limit: number): Q | 0 {
  const quota = tryAlloc(PageQuota);
  if (quota === 0) return 0;
  PageQuota.refcount.init(quota, 1);
  PageQuota.limit.set(quota, limit);
  return quota;
}

export function quotaGet(quota: Q): Q {
  PageQuota.refcount.add(quota, 1);
  return quota;
}
export function quotaPut(quota: Q): void {
  if (PageQuota.refcount.decAndTest(quota)) kfreeRcu(PageQuota, quota);
}

/** Takes one page; false when there is none left. */
export function chargePage(quota: Q): boolean {
  if (PageQuota.used.add(quota, 1) < PageQuota.limit.get(quota)) return true;
  PageQuota.used.add(quota, -1);
  return false;
}
