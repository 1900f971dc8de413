/**
 * The same model by kernels that keep no order of summation: what `bench exactness` must catch, and what it costs to keep one.
 *
 * Only the way products are summed changes: formats, bindings and grids stay. Nothing serves with these.
 */
import { readFileSync } from 'node:fs'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'

const kept = readFileSync(new URL('../../gpu-worker/kernels/include/dot.wgsl', import.meta.url), 'utf8')
const free = readFileSync(new URL('dot-free.wgsl', import.meta.url), 'utf8')

/** A dispatch whose shader has nothing of the kind stays as it is. */
export function freeOrder(dispatch: Dispatch): Dispatch {
  const { program } = dispatch
  return { ...dispatch, program: { ...program, source: program.source.replace(kept, () => free) } }
}
