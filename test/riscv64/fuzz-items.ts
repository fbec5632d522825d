/** The fuzzer's building blocks: each returns a few random instructions that cannot fault or run away. */

import { callFunction, fence, forward, loop, modifyCode, systemCall } from "./fuzz-control.ts";
import { floatArithmetic, floatConvert, floatCsr } from "./fuzz-float.ts";
import { address, compressed, idiom, integer, multiply } from "./fuzz-integer.ts";
import { atomic, floatMemory, group, memory, overlap } from "./fuzz-memory.ts";
import type { Make } from "./fuzz-registers.ts";

export const KINDS: Record<string, Make> = {
  integer,
  multiply,
  address,
  memory,
  floatMemory,
  overlap,
  group,
  floatArithmetic,
  floatConvert,
  floatCsr,
  atomic,
  compressed,
  forward,
  loop,
  callFunction,
  systemCall,
  modifyCode,
  idiom,
  fence,
};
