/**
 * The same model by kernels that keep no order of summation: what `bench exactness` must catch, and what it costs to keep one.
 *
 * Only arithmetic changes: formats, bindings and grids stay. Includes are exchanged in the shaders' text, so that whatever
 * kernel uses them follows. Nothing serves with these.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'

/** As servers do it: one row's products are summed in another order than many rows'. */
export function freeOrder(dispatch: Dispatch): Dispatch {
  return altered(dispatch, 'dot-strands')
}

/** No chunks, but one order for all row counts: where this is the faster one, it is what the contract is measured against. */
export function straightOrder(dispatch: Dispatch): Dispatch {
  return altered(dispatch, 'dot-straight')
}

const kernels = new URL('../../gpu-worker/kernels/include/', import.meta.url)

function altered(dispatch: Dispatch, row: 'dot-strands' | 'dot-straight'): Dispatch {
  const { program } = dispatch
  const source = program.source
    .replace(textOf('dot', kernels), () => `${textOf(row)}\n${textOf('dot-free')}`)
    .replace(exactExp, 'fn exp_exact(x: f32) -> f32 {\n  return exp(x);\n}\n')
  return { ...dispatch, program: { ...program, source } }
}

const exactExp = functionIn(textOf('exp', kernels), 'exp_exact')

function textOf(name: string, folder: string | URL = import.meta.url): string {
  return readFileSync(new URL(`${name}.wgsl`, folder), 'utf8')
}

/** Its text, which ends with the first brace at a line's start. */
function functionIn(text: string, name: string): string {
  const found = new RegExp(`fn ${name}\\([^]*?\\n}\\n`).exec(text)?.[0]
  assert(found !== undefined, `There is a function ${name}`)
  return found
}
