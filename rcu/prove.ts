import { setting } from "./platform.ts";

/**
 * Whether this process checks the rules of RCU at run time (Linux: CONFIG_PROVE_RCU): set STERNIX_PROVE_RCU=1 before it
 * starts. Modules copy these into a constant of their own, which V8 folds away when false; an imported one it does not.
 */
export const PROVE_RCU = setting("STERNIX_PROVE_RCU");
/** Whether dereferences are atomic loads (rcu/design.md, "strict"): STERNIX_RCU_STRICT=1. */
export const STRICT_RCU = setting("STERNIX_RCU_STRICT");
