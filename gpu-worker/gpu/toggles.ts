/**
 * Which names cannot be Dawn toggles. Dawn skips a name that it does not know without a word, and lists none.
 *
 * Its binary holds every toggle's name as a text of its own; a name that is not there is no toggle of this Dawn. Knows
 * not whether a toggle does anything on this adapter.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** Those of `names` that Dawn would skip. */
export async function unknownToggles(names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return []
  const binary = await readFile(dawnPath())
  return names.filter((name) => !/^[a-z0-9]+(_[a-z0-9]+)+$/.test(name) || !binary.includes(`\0${name}\0`))
}

/** As the package finds it. */
function dawnPath(): string {
  const root = dirname(createRequire(import.meta.url).resolve('webgpu/package.json'))
  const architecture = process.platform === 'darwin' ? 'universal' : process.arch
  return join(root, 'dist', `${process.platform}-${architecture}`, 'dawn.node')
}
