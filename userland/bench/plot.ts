import type { Results } from "./report.ts";
export const plot = (_results: Results): string => "";
