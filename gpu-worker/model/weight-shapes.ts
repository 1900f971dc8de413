/**
 * The one thing that config, names and shapes cannot tell of packed integers: `….weight_shape` says how many columns lie
 * in the last word of a row, and must say what the model needs.
 *
 * Reads nothing else; a checkpoint without such tensors passes.
 */
import type { Checkpoint } from './checkpoint.ts'
import { itemsOf } from './layout-sizes.ts'
import { LayoutError, type ModelLayout } from './layout.ts'
import type { StoredWeight } from './row-source.ts'

/** Reads under way at a time: A.X K1 has 34,560 of them, 16 bytes each. */
const READS_TOGETHER = 64

/** Throws LayoutError, before anything is allocated, for every weight whose stored shape is another. */
export async function checkWeightShapes(reader: ShapeReader, layout: ModelLayout): Promise<void> {
  const problems = await wrongWeightShapes(reader, layout)
  if (problems.length > 0) throw new LayoutError(problems)
}

type ShapeReader = Pick<Checkpoint, 'tensors' | 'read'>

/** A sentence for each; the layout has no problems of its own. */
export async function wrongWeightShapes({ tensors, read }: ShapeReader, layout: ModelLayout): Promise<string[]> {
  const weights = new Set<StoredWeight>()
  for (const item of itemsOf(layout)) {
    if (item.shape === 'matrix' && tensors.has(shapeTensor(item.part.weight))) weights.add(item.part.weight)
  }
  const waiting = [...weights].toReversed()
  const problems: string[] = []
  const check = async (): Promise<void> => {
    for (let weight = waiting.pop(); weight !== undefined; weight = waiting.pop()) {
      const name = shapeTensor(weight)
      const stored = integersOf(await read(name), tensors.get(name)?.type === 'i64').join(' × ')
      const expected = `${weight.rowCount} × ${weight.columnCount}`
      if (stored !== expected) problems.push(`${name} says ${stored}, expected ${expected}`)
    }
  }
  await Promise.all(Array.from({ length: READS_TOGETHER }, check))
  return problems
}

function shapeTensor({ name }: StoredWeight): string {
  return `${name}.weight_shape`
}

/** `bytes` starts a buffer of its own. */
function integersOf({ buffer }: Uint8Array<ArrayBuffer>, areLong: boolean): readonly (number | bigint)[] {
  return [...(areLong ? new BigInt64Array(buffer) : new Int32Array(buffer))]
}
