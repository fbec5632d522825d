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
