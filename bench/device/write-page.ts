/**
 * `node bench/device/write-page.ts FOLDER`: the reports that `run.sh` left in a folder, into docs/performance.md, a section
 * a bench and adapter; roofline's own stays where `--write` puts it. It computes nothing.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { writeTable } from '../roofline/page.ts'

const figure = z.object({
  name: z.string(),
  // What is NaN or infinite is null in JSON.
  value: z
    .number()
    .nullable()
    .transform((value) => value ?? NaN),
  unit: z.string(),
  goal: z.string().exactOptional(),
  holds: z.boolean().exactOptional(),
})
const report = z.object({
  bench: z.string(),
  machine: z.string(),
  adapter: z.string(),
  date: z.string(),
  notes: z.array(z.string()).default([]),
  figures: z.array(figure),
})

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new TypeError('Expected a folder of reports: node bench/device/write-page.ts FOLDER')
for (const name of (await readdir(folder)).filter((file) => file.endsWith('.json')).toSorted()) {
  const read = report.parse(JSON.parse(await readFile(join(folder, name), 'utf8')))
  await writeTable(read.bench === 'roofline' ? read : { ...read, adapter: `${read.bench}, ${read.adapter}` })
}
