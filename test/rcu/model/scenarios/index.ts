/** All scenarios. */
import type { Scenario } from "../scenario.ts";
import { CALLBACKS } from "./callbacks.ts";
import { COLLECTIONS } from "./collections.ts";
import { DEATH } from "./death.ts";
import { FLAVOURS } from "./flavours.ts";
import { GRACE } from "./grace.ts";
import { HOTPLUG } from "./hotplug.ts";
import { LISTS } from "./lists.ts";
import { LITMUS } from "./litmus.ts";
import { LOCK_FREE } from "./lock-free.ts";
import { LOCKS } from "./locks.ts";
import { PREEMPT } from "./preempt.ts";
import { QUEUES } from "./queues.ts";
import { STALL } from "./stall.ts";
import { SWITCHES } from "./switches.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...LITMUS,
  ...GRACE,
  ...PREEMPT,
  ...HOTPLUG,
  ...DEATH,
  ...CALLBACKS,
  ...LOCKS,
  ...FLAVOURS,
  ...COLLECTIONS,
  ...LISTS,
  ...LOCK_FREE,
  ...QUEUES,
  ...SWITCHES,
  ...STALL,
];
