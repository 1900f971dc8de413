/**
 * Sorts a program's constants by what its shader declares: `override`s of the pipeline, fields of the uniform `Params`.
 *
 * Few overrides are few pipelines, and sizes the compiler cannot see are loops it cannot unroll: a software Vulkan
 * driver spent minutes on unrolled products. The declarations are read from the shader, so the two cannot disagree.
 */
import type { Program } from './program.ts'

export interface SortedConstants {
  readonly overrides: Readonly<Record<string, number>>
  /** The bytes of `Params`: 4 a field, in the shader's order; null when there is none. */
  readonly params: Uint8Array<ArrayBuffer> | null
}

/** Throws a RangeError when shader and program name different constants. */
export function sortConstants({ name, source, constants }: Program): SortedConstants {
  const overrides = [...source.matchAll(/^override (\w+): \w+;$/gm)].map((match) => match[1] ?? '')
  const fields = fieldsOf(source)
  const declared = [...overrides, ...fields.map((field) => field.name)]
  const given = Object.keys(constants)
  const odd = [...given.filter((key) => !declared.includes(key)), ...declared.filter((key) => !given.includes(key))]
  if (odd.length > 0 || new Set(declared).size !== declared.length) {
    throw new RangeError(`Constants of ${name} do not match its shader: ${odd.join(', ')}`)
  }
  const value = (key: string): number => constants[key] ?? 0
  return {
    overrides: Object.fromEntries(overrides.map((key) => [key, value(key)])),
    params: fields.length === 0 ? null : pack(fields.map(({ name: key, type }) => ({ type, value: value(key) }))),
  }
}

interface Field {
  readonly name: string
  readonly type: string
}

function fieldsOf(source: string): Field[] {
  const body = /^struct Params \{\n([^}]*)\}/m.exec(source)?.[1] ?? ''
  return [...body.matchAll(/^ {2}(\w+): (\w+),$/gm)].map((match) => ({ name: match[1] ?? '', type: match[2] ?? '' }))
}

/** u32 and f32 fields alone: then WGSL's layout is 4 bytes each. */
function pack(values: readonly { readonly type: string; readonly value: number }[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(values.length * 4))
  values.forEach(({ type, value }, i) => {
    if (type === 'f32') view.setFloat32(i * 4, value, true)
    else if (type === 'u32' && Number.isInteger(value) && value >= 0 && value < 2 ** 32)
      view.setUint32(i * 4, value, true)
    else throw new RangeError(`Cannot pack ${value} as ${type}`)
  })
  return new Uint8Array(view.buffer)
}
