/**
 * `npm run prove -- convert`: what quantisation costs axk1-tiny, measured by the answers it gets exactly right.
 *
 * bf16 must answer as the recipe's evaluation says; int8 everywhere must stay within a point of bf16; int4 is reported. The
 * reduced form asks a few questions of each task, and converts to fewer mixes.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { convertCheckpoint } from '../../cli/convert/convert-checkpoint.ts'
import type { ConversionMix } from '../../cli/convert/conversion-plan.ts'
import { exactAnswers, loadEvalQuestions, type ExactRates } from './exact-answers.ts'

const tiny = join(import.meta.dirname, '../../models/axk1-tiny')

const full: readonly ConversionMix[] = [
  ...[32, 64, 128].map((group) => ({ experts: 'int8', rest: 'int8', group }) as const),
  ...[32, 64, 128].map((group) => ({ experts: 'int4', rest: 'bf16', group }) as const),
  ...[32, 64, 128].map((group) => ({ experts: 'int4', rest: 'int8', group }) as const),
]
const reduced: readonly ConversionMix[] = [
  { experts: 'int8', rest: 'int8', group: 128 },
  { experts: 'int4', rest: 'int8', group: 32 },
]
/** Of exact answers, int8 below bf16. */
const POINT = 0.01
const RECIPE_COUNT = 30
/** The recipe evaluated f32 weights, before they were rounded to the bf16 that ships. */
const RECIPE_TOLERANCE = 0.01

export async function convert(options: { readonly full: boolean }): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'axle-convert-'))
  try {
    if (options.full) await asRecipe()
    const questions = await loadEvalQuestions(options.full ? Infinity : 5)
    const original = await exactAnswers(tiny, questions)
    const header = [...original.tasks.keys()].map((task) => task.padStart(columnWidth(task)))
    console.log(`  ${original.questionCount} questions, greedy, non-think and think; exact answers in percent`)
    console.log(`  ${'weights'.padEnd(28)} bytes   all  non-think  think  ${header.join('  ')}`)
    const sourceBytes = (await stat(join(tiny, 'model.safetensors'))).size
    print('bf16', sourceBytes, original)
    for (const mix of options.full ? full : reduced) {
      const name = `${mix.experts} experts, ${mix.rest} rest, ${mix.group}`
      const outDir = join(dir, name.replaceAll(', ', '-').replaceAll(' ', '-'))
      await convertCheckpoint({ sourceDir: tiny, outDir, mix, shardBytesMax: 2 ** 31, threadCount: 2 }, () => {})
      const rates = await exactAnswers(outDir, questions)
      print(name, (await stat(join(outDir, 'model.safetensors'))).size, rates)
      if (mix.experts === 'int8') {
        assert(rates.all >= original.all - POINT - Number.EPSILON, `${name} stays within a point of bf16`)
      }
    }
  } finally {
    await rm(dir, { recursive: true })
  }
}

/** The recipe's own questions: its rates of the model before rounding to bf16. */
async function asRecipe(): Promise<void> {
  const rates = await exactAnswers(tiny, await loadEvalQuestions(RECIPE_COUNT))
  const pairs = z.record(z.string(), z.unknown()).parse(JSON.parse(await readFile(join(tiny, 'eval.json'), 'utf8')))
  const recipe = [...rates.tasks.keys()].map((task) => z.tuple([z.number(), z.number()]).parse(pairs[task]))
  const mean = recipe.flat().reduce((sum, rate) => sum + rate, 0) / (recipe.length * 2)
  console.log(`  the recipe's ${RECIPE_COUNT} questions a task: ${percent(rates.all)}, by the recipe ${percent(mean)}`)
  assert(Math.abs(rates.all - mean) <= RECIPE_TOLERANCE, 'the engine answers as the recipe evaluated')
}

function print(name: string, bytes: number, { all, direct, think, tasks }: ExactRates): void {
  const cells = [...tasks].map(([task, rate]) =>
    `${(rate.direct * 100).toFixed(0)}/${(rate.think * 100).toFixed(0)}`.padStart(columnWidth(task)),
  )
  const rates = `${percent(all)}  ${percent(direct).padStart(9)}  ${percent(think).padStart(5)}`
  console.log(`  ${name.padEnd(28)} ${(bytes / 1e6).toFixed(2)}M ${rates}  ${cells.join('  ')}`)
}

/** Of a task's two rates. */
function columnWidth(task: string): number {
  return Math.max(task.length, '100/100'.length)
}

function percent(ratio: number): string {
  return (ratio * 100).toFixed(1)
}
