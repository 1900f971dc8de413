/**
 * Rests the event loop while an answer of the GPU is awaited, where the GPU is this machine's own cores.
 *
 * Dawn's binding asks for answers in a loop of immediates: a core spins for as long as any is outstanding, and on an
 * adapter that computes on the host's cores it spins in the way of the very work it asks about. A turn of the loop that
 * rests first costs an answer that much delay at most, and I/O is served between turns as ever. Knows no GPU.
 */

/** Of one turn; the kernel's timers add about half as much. */
const REST_MS = 0.1

const cell = new Int32Array(new SharedArrayBuffer(4))
let waitCount = 0
let isTurning = false

/** Settles as `answer` does. One loop of turns serves all waits. */
export async function parkedWait<T>(answer: Promise<T>): Promise<T> {
  waitCount += 1
  if (!isTurning) {
    isTurning = true
    setImmediate(turn)
  }
  try {
    return await answer
  } finally {
    waitCount -= 1
  }
}

function turn(): void {
  isTurning = waitCount > 0
  if (!isTurning) return
  Atomics.wait(cell, 0, 0, REST_MS)
  setImmediate(turn)
}
