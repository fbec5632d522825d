/**
 * Atomics.waitAsync for threads that live in their event loop: resolves when the word is notified, differs from `value`
 * already, or after `ms`. Keeps the event loop alive meanwhile, which waitAsync by itself does not.
 */
export async function waitAsync(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  value: number,
  ms: number,
): Promise<void> {
  const waiting = Atomics.waitAsync(words, index, value, ms);
  if (!waiting.async) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const alive = setTimeout(resolve, ms);
  try {
    await Promise.race([waiting.value, promise]);
  } finally {
    clearTimeout(alive);
  }
}
