/** What the engine of TypeScript programs sees of the kernel besides UserModeHost: the current task's part of task/program.ts. */
import { programText, setProgram } from "../task/program.ts";
import { Task } from "../task/task.ts";
import type { ProgramHost } from "../usermode.ts";
import { Cpu, cpuOf, MAX_CPUS, setNeedResched } from "./cpus.ts";
import { current } from "./current.ts";

/** Tokens of one boot of one CPU: no two engines give out the same. */
const TOKENS = 2 ** 32;

/** The CPU whose engine gave the token out; -1 for 0. */
export const cpuOfToken = (token: number): number =>
  token === 0 ? -1 : Math.floor(token / TOKENS) % MAX_CPUS;

export function createProgramHost(cpu: number): ProgramHost {
  let next = (Cpu.boots.load(cpuOf(cpu)) * MAX_CPUS + cpu) * TOKENS;
  const stayOn = (number: number): void => {
    const task = current();
    Task.affinity.store(task, 0, number < 32 ? 1 << number : 0);
    Task.affinity.store(task, 1, number < 32 ? 0 : 1 << (number - 32));
  };
  return {
    token: () => Task.programToken.get(current()),
    newToken: () => ++next,
    setToken: (token) => Task.programToken.set(current(), token),
    announce: (token) => Task.programChild.set(current(), token),
    begin() {
      stayOn(cpu);
      return programText(current());
    },
    beginAnew(number, request) {
      const error = setProgram(current(), request);
      if (error < 0) return error;
      stayOn(number);
      setNeedResched(cpu);
      return 0;
    },
  };
}
