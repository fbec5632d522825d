/** The subsystem interface: what other people's modules plug into. */
export { SubsystemError, type SubsystemUse } from "./boot.ts";
export { SubsystemContext } from "./context.ts";
export {
  type ContextOf,
  type Device,
  defineSubsystem,
  type Hooks,
  isSubsystem,
  type Subsystem,
  type SubsystemLiteral,
  type VirtualFile,
} from "./define.ts";
export { SharedCounter, type TableSpec, table } from "./table.ts";
export { CallView, type MountView, OpenFile, TaskView } from "./view.ts";
