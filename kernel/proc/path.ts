/** Paths as the reading process sees them. */
import type { Ref } from "../../rcu/index.ts";
import { filePath, pathOf } from "../fs/dpath.ts";
import { currentFs } from "../fs/namei.ts";

const decoder = new TextDecoder();

export const dPath = (mount: Ref<"mount">, dentry: Ref<"dentry">): string =>
  decoder.decode(pathOf(currentFs(), mount, dentry));

/** What a link to an open file shows: its path, or what it is when it has none. */
export const fileName = (file: Ref<"file">): string => filePath(currentFs(), file);
