/** Argument types of the memory calls. */
import * as mman from "../../kernel/uapi/mman.ts";
import { type Arg, DECODE, flagSet, oneOf } from "../args.ts";

/** The constants whose names start with one of the prefixes. */
function named(...prefixes: string[]): Record<string, number> {
  return Object.fromEntries(
    Object.entries(mman).filter(
      ([name, value]) => typeof value === "number" && prefixes.some((prefix) => name.startsWith(prefix)),
    ),
  ) as Record<string, number>;
}

export const prot: Arg = flagSet(named("PROT_"));

const { MAP_SHARED, MAP_PRIVATE, MAP_TYPE, MAP_SHARED_VALIDATE, ...mapBits } = named("MAP_");
const mapRest = flagSet(mapBits);
export const mapFlags: Arg = {
  decode: DECODE.INT,
  values: [MAP_SHARED!, MAP_PRIVATE!, ...Object.values(mapBits)],
  format(value, call) {
    const type = value & MAP_TYPE!;
    const name =
      type === MAP_SHARED
        ? "MAP_SHARED"
        : type === MAP_PRIVATE
          ? "MAP_PRIVATE"
          : type === MAP_SHARED_VALIDATE
            ? "MAP_SHARED_VALIDATE"
            : `0x${type.toString(16)} /* MAP_??? */`;
    const rest = value & ~MAP_TYPE!;
    return rest === 0 ? name : `${name}|${mapRest.format(rest, call)}`;
  },
};
export const remapFlags: Arg = flagSet(named("MREMAP_"));
export const msyncFlags: Arg = flagSet(named("MS_"), DECODE.INT);
export const advice: Arg = oneOf(named("MADV_"));
export const lockFlags: Arg = flagSet(named("MCL_"));
export const membarrierCmd: Arg = oneOf(named("MEMBARRIER_CMD_"));
