/** Scenarios of sysstat's histograms: `sternix check userland/subsystems/sysstat/histogram.check.ts`. */
import { scenario } from "../../check/index.ts";
import { newHistogram, record, summarize } from "./histogram.ts";

const setup = () => {
  const histogram = newHistogram();
  if (histogram === 0) throw new Error("the heap is full");
  record(histogram, 2 ** 32 - 1);
  return { histogram };
};

/** Two CPUs record at a time, and the low word of the sum overflows: nothing is lost, whoever carries. */
export const carried = scenario({
  flavour: "cpu",
  setup,
  threads: {
    one: ({ histogram }) => record(histogram, 3),
    other: ({ histogram }) => record(histogram, 2 ** 31),
  },
  check({ histogram }) {
    const { count, sumNs } = summarize(histogram);
    if (count !== 3 || sumNs !== 2 ** 32 + 2 + 2 ** 31) throw new Error(`${count} calls, ${sumNs} ns`);
  },
});
