/**
 * `bench goldens`: every checkpoint that comes with the repository under Dawn's safe and its fast toggles, profile exact.
 *
 * `axle verify --all` does more, with the toggles that are Dawn's own; this says that toggles change no bit that matters.
 */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { exercisesByName, verifyFile } from '../../cli/verify/fidelity.ts'
import { shortfalls, worstNmse } from '../../cli/verify/verdict.ts'
import { expectedFileOf } from '../../cli/verify.ts'
import { toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'
import { machineName, type Figure, type Report } from '../report.ts'

const root = resolve(import.meta.dirname, '../..')
const rowsMax = 256
const nmseMax = 1e-8

export async function goldens(): Promise<Report> {
  const folder = join(root, 'test/goldens')
  const names = exercisesByName(await readFile(join(folder, 'README.md'), 'utf8')).map(([name]) => name)
  const dirs = [join(root, 'models/axk1-tiny'), ...names.map((name) => join(folder, name))]
  const figures: Figure[] = []
  const problems: string[] = []
  let adapter = ''
  for (const toggles of ['safe', 'fast'] as const) {
    let greedyEqual = 0
    let greedyAsked = 0
    for (const dir of dirs) {
      const options = { rowsMax, toggles: toggleProfiles[toggles] }
      const { results, adapter: facts } = await verifyFile(dir, await expectedFileOf(dir), options)
      adapter = facts.description
      const name = `${toggles}: ${dir.slice(dir.lastIndexOf('/') + 1)}`
      const own = shortfalls(results, 'exact')
      problems.push(...own.map((problem) => `${name}, ${problem}`))
      const worst = worstNmse(results)
      const goal = `≤ ${nmseMax}, greedy and experts equal`
      figures.push({ name: `${name}, worst NMSE`, value: worst, unit: '', goal, holds: own.length === 0 })
      for (const { greedyEqual: isEqual } of results) {
        if (isEqual === null) continue
        greedyAsked += 1
        if (isEqual) greedyEqual += 1
      }
    }
    figures.push({ name: `${toggles}: greedy answers equal`, value: greedyEqual, unit: `of ${greedyAsked}` })
  }
  const date = new Date().toISOString().slice(0, 10)
  return { bench: 'goldens', machine: machineName(), adapter, date, notes: problems, figures }
}
