/** The machine's names (uname(2)). */
import { bytes, type Ref, spinlock, struct, tryAlloc } from "../../rcu/index.ts";
import { kernelGlobal } from "../global.ts";
import { MACHINE, RELEASE, SYSNAME, UTS_BYTES, UTS_FIELD, VERSION } from "../uapi/utsname.ts";

const Uts = struct("uts", { lock: spinlock(98), nodename: bytes(UTS_FIELD), domainname: bytes(UTS_FIELD) });
const uts = kernelGlobal<Ref<"uts">>("uts");
const encoder = new TextEncoder();

export function utsInit(): void {
  const ref = tryAlloc(Uts);
  if (ref === 0) throw new Error("no memory for the machine's name");
  Uts.nodename.view(ref).set(encoder.encode("sternix"));
  Uts.domainname.view(ref).set(encoder.encode("(none)"));
  uts.init(ref);
}

/** struct utsname. */
export function utsname(): Uint8Array {
  const ref = uts.get();
  const out = new Uint8Array(UTS_BYTES);
  for (const [n, text] of [SYSNAME, "", RELEASE, VERSION, MACHINE].entries())
    out.set(encoder.encode(text), n * UTS_FIELD);
  Uts.lock.lock(ref);
  out.set(Uts.nodename.view(ref), UTS_FIELD);
  out.set(Uts.domainname.view(ref), 5 * UTS_FIELD);
  Uts.lock.unlock(ref);
  return out;
}

/** sethostname(2), setdomainname(2): at most 64 bytes. */
export function setName(which: "nodename" | "domainname", name: Uint8Array): void {
  const ref = uts.get();
  Uts.lock.lock(ref);
  const view = Uts[which].view(ref);
  view.fill(0);
  view.set(name);
  Uts.lock.unlock(ref);
}

const decoder = new TextDecoder();
/** The node name, for /proc/sys/kernel/hostname. */
export function hostname(): string {
  const bytes = utsname().subarray(UTS_FIELD, 2 * UTS_FIELD);
  return decoder.decode(bytes.subarray(0, bytes.indexOf(0)));
}
export function setHostname(name: string): void {
  setName("nodename", encoder.encode(name).subarray(0, UTS_FIELD - 1));
}
