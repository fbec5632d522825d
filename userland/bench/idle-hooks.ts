/** For subsystems.ts: listens to every call, and does nothing. */
import { defineSubsystem } from "../index.ts";

export default defineSubsystem({
  name: "idle-hooks",
  hooks: { syscallEnter: () => 0, syscallExit: () => {} },
});
