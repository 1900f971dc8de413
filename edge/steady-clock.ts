/**
 * Milliseconds that pass, by a wall clock that may be set back: such a jump counts as no time at all, so what is kept
 * for a while is not kept until the clock has caught up. A jump ahead counts.
 *
 * For how long, never for when: it tells no date. Workers have no clock that only goes forward.
 */
export function steadyClock(wallNow: () => number): () => number {
  let lastMs = wallNow()
  let steadyMs = lastMs
  return () => {
    const nowMs = wallNow()
    steadyMs += Math.max(0, nowMs - lastMs)
    lastMs = nowMs
    return steadyMs
  }
}

/** Of this isolate. */
export const steadyNowMs = steadyClock(() => Date.now())
