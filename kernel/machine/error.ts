/** A mistake in what the user asked for: one line, without a stack. */
export class MachineError extends Error {
  override name = "MachineError";
}
