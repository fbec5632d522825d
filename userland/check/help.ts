/** What `sternix check --help` says. The words themselves are read by options.ts. */
import { type ArgsDef, defineCommand } from "citty";
import { OPTIONS } from "./options.ts";

export const checkHelp = defineCommand<ArgsDef>({
  meta: {
    name: "check",
    description:
      "Run the scenarios of a module under every interleaving; status 0 if none shows a mistake, 1 if one does, 2 if they cannot be run",
  },
  args: {
    module: { type: "positional", description: "a .ts or .js file that exports scenarios of sternix/check" },
    ...Object.fromEntries(
      Object.entries(OPTIONS).map(([name, { hint, about }]) => [
        name,
        hint === ""
          ? { type: "boolean" as const, description: about }
          : { type: "string" as const, valueHint: hint, description: about },
      ]),
    ),
  },
});
