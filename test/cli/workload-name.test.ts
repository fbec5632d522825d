import test from "ava";
import { Failure } from "../../userland/cli/failure.ts";
import { resolveProgram } from "../../userland/cli/resolve.ts";
import { WORKLOADS } from "../../userland/programs/workloads/index.ts";

const resolve = (program: string) => resolveProgram(program, undefined, () => {});

test("workload:NAME is the module of that workload, and says so when there is none", async (t) => {
  for (const name of WORKLOADS) {
    const module = await import(((await resolve(`workload:${name}`)) as URL).href);
    t.is(typeof module.default, "object", name);
  }
  const message = /^workload:fd: the workloads are fd-churn, .*mix$/;
  await t.throwsAsync(resolve("workload:fd"), { instanceOf: Failure, message });
});

test("a workload's file name, where there is no such file, is answered with its name", async (t) => {
  const message = "mix.ts: there is no such program in this folder; the workload is workload:mix";
  await t.throwsAsync(resolve("mix.ts"), { instanceOf: Failure, message });
});
