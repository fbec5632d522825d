/** What the engine itself calls in each copy of the code (instance.ts). A library of scenarios may have more. */
export * from "../../../rcu/index.ts";
export * from "../../../rcu/kernel.ts";
