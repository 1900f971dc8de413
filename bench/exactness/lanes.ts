/** Several workers that take from one list in order, each the next when it is done with its own. Knows nothing of the work. */

/** Settles when all is done, or with the first failure. */
export async function inLanes<Worker, Item>(
  workers: readonly Worker[],
  items: readonly Item[],
  work: (worker: Worker, item: Item, index: number) => Promise<void>,
): Promise<void> {
  const next = items.entries()
  await Promise.all(
    workers.map(async (worker) => {
      for (const [index, item] of next) await work(worker, item, index)
    }),
  )
}
