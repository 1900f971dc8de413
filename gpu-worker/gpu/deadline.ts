/**
 * A wait that ends: no answer of a driver is awaited without a limit.
 *
 * Knows nothing of what is awaited. The late answer, should it come, is dropped.
 */

/** Settles as `answer` does, or throws `late()` after `deadlineMs`. */
export async function withDeadline<T>(answer: Promise<T>, deadlineMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), deadlineMs)
  })
  try {
    return await Promise.race([answer, deadline])
  } finally {
    clearTimeout(timer)
  }
}
