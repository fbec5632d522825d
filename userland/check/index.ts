/** `sternix/check`: the model checker as a library. */
export {
  CheckError,
  type FakeCall,
  type FakeTask,
  type Flavour,
  fakeCall,
  fakeFile,
  fakeTask,
  type Memory,
  type OpenLiteral,
  type Plugged,
  plug,
  type Scenario,
  type ScenarioOptions,
  type SharedLiteral,
  scenario,
  type Thread,
  type Threads,
} from "./inside/check.ts";
export type { Block, Line, Place } from "./lines.ts";
export {
  type CheckOptions,
  check,
  type ScenarioReport,
  type ViolationKind,
  type ViolationReport,
} from "./run.ts";
