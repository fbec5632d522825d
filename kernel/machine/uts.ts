export * from "../task/uts.ts";
