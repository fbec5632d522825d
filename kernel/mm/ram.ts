/** RAM as the rest of the kernel knows it: views, layout, register-file slots (ram-state.ts), page frames (frame.ts). */
export { allocFrame, allocFrames, getFrame, putFrame } from "./frame.ts";
export * from "./ram-state.ts";
