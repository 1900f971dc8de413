/**
 * The same model by kernels that keep no order of summation: what `bench exactness` must catch, and what it costs to keep one.
 *
 * Of the kernels for CPU adapters; those for GPUs have other functions. Formats, bindings and grids stay: functions are
 * exchanged by name in the shaders' text, so that whatever kernel has them follows. Nothing serves with these.
 */
import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import type { Dispatch } from '../../gpu-worker/gpu/program.ts'

/** As servers do it: one row's products are summed in another order than many rows'. */
export function freeOrder(dispatch: Dispatch): Dispatch {
  return altered(dispatch, [...native, ...strands])
}

/** No chunks, but one order for all row counts: where this is the faster one, it is what the contract is measured against. */
export function straightOrder(dispatch: Dispatch): Dispatch {
  return altered(dispatch, native)
}

interface WgslFunction {
  readonly name: string
  readonly text: string
}

const native = functionsOf('native.wgsl')
const strands = functionsOf('strands.wgsl')
/** All of K is one chunk. */
const oneChunk = 'const UNITS_PER_CHUNK = 0x10000000u;'

function altered(dispatch: Dispatch, functions: readonly WgslFunction[]): Dispatch {
  const { program } = dispatch
  const exchanged = functions.reduce(
    (source, { name, text }) => source.replace(pattern(name), () => text),
    program.source,
  )
  const source = exchanged.replace(/const UNITS_PER_CHUNK = \d+u;/, oneChunk)
  return { ...dispatch, program: { ...program, source } }
}

/** Every function of a file in this folder. */
function functionsOf(file: string): WgslFunction[] {
  const text = readFileSync(new URL(file, import.meta.url), 'utf8')
  const functions = [...text.matchAll(pattern('\\w+', 'g'))].map(([whole, name = '']) => ({ name, text: whole }))
  assert(functions.length > 0, `There are functions in ${file}`)
  return functions
}

/** A function's text ends with the first brace at the start of a line. */
function pattern(name: string, flags = ''): RegExp {
  return new RegExp(`fn (${name})\\([^]*?\\n}\\n`, flags)
}
