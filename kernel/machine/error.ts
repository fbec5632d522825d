/** A mistake in what the user asked for, or something that the host does not give: one line, without a stack. */
export class MachineError extends Error {
  override name = "MachineError";
  /** Which kind, for programs: "ERR_MACHINE_OPTION" for an option that is unknown, ill-typed or out of range. */
  readonly code: string;
  constructor(message: string, options: ErrorOptions & { readonly code?: string } = {}) {
    super(message, options);
    this.code = options.code ?? "ERR_MACHINE";
  }
}

/** An exception in the kernel, while it did on the host thread what was asked for. The kernel log has its backtrace; the machine goes on. */
export class OopsError extends MachineError {
  override name = "OopsError";
  override readonly code = "ERR_MACHINE_OOPS";
}

/** The machine cannot go on and has ended itself: processes reject with this, and so does all that it is asked for. */
export class PanicError extends MachineError {
  override name = "PanicError";
  override readonly code = "ERR_MACHINE_PANIC";
}
