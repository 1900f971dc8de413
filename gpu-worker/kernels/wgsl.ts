/**
 * Finds shader text beside its kernel and joins it with the includes it names.
 *
 * No preprocessor: an include is plain text put before the kernel.
 */
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import type { PlainFormat, QuantizedFormat } from './matrix.ts'

/** Vectors of a weight row's chunk of 32 columns. */
export type VectorCount = 1 | 2 | 4 | 8

/** `include('dot', 'exp')` → the texts of include/dot.wgsl and include/exp.wgsl. */
export type Include =
  | `attention${'' | '-rows'}`
  | 'chunk-lanes'
  | `${'any' | 'whole'}-chunks`
  | `block${'' | '-sums' | '-matrix'}`
  | 'dot'
  | 'exp'
  | 'gumbel'
  | `expert-${'gate-up' | 'down'}-groups`
  | 'lanes'
  | 'log'
  | 'matmul'
  | 'matrices'
  | `mix${'' | '-tiles'}`
  | `panel${'' | '-columns-8'}`
  | `pieces-${'plain' | 'grouped' | 'units'}`
  | 'pages-f32'
  | 'pages-f16'
  | 'quads'
  | 'rope'
  | 'row-ahead'
  | 'row-choice'
  | 'row-choice-lanes'
  | 'row-choice-wide'
  | 'row-order'
  | 'sampler'
  | 'sample-borders'
  | 'shared-hidden'
  | 'route-row'
  | 'row-quads'
  | 'row-sum'
  | 'row-sum-eighths'
  | 'sort-pairs'
  | 'subgroups'
  | `units-${'plain' | 'grouped' | 'values'}`
  | `vectors-${VectorCount}`
  | `decode-${'plain' | 'groups' | 'product' | 'int4' | 'int8' | 'fp8' | 'fp8-halves'}`
  | `weights-${PlainFormat | QuantizedFormat['kind']}`
  | `scales-${PlainFormat}`
  | `zeros-${'middle' | 'stored'}`
  | `groups-${'units' | 'values'}`

/** The complete WGSL text of `name`.wgsl after its includes: one string for all who ask, since hundreds do. */
export function wgsl(name: string, ...includes: readonly Include[]): string {
  const parts = [...includes.map((include) => `include/${include}`), name]
  const key = parts.join()
  const source = sources.get(key) ?? parts.map(read).join('\n')
  sources.set(key, source)
  return source
}

const sources = new Map<string, string>()
const texts = new Map<string, string>()

function read(name: string): string {
  let text = texts.get(name)
  if (text === undefined) {
    text = readFileSync(new URL(`${name}.wgsl`, import.meta.url), 'utf8')
    texts.set(name, text)
  }
  return text
}

/** SHA-256 over all shader text, in name order: part of the fingerprint. */
export function kernelDigest(): string {
  const hash = createHash('sha256')
  const names = ['', 'include/'].flatMap((folder) =>
    readdirSync(new URL(`./${folder}`, import.meta.url))
      .filter((file) => file.endsWith('.wgsl'))
      .map((file) => `${folder}${file.slice(0, -'.wgsl'.length)}`),
  )
  for (const name of names.sort()) hash.update(`${name}\0${read(name)}\0`)
  return hash.digest('hex')
}
