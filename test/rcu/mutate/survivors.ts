/** Mutants that nothing kills, and why each is as good as the code. */
export const SURVIVORS: Readonly<Record<string, string>> = {};
