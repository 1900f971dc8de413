/**
 * `axle inspect`: what a checkpoint is, what it weighs, and everything that keeps it from being loaded.
 *
 * Reads config, headers and the shapes of packed weights, no weights, and opens no GPU. What is said stands in `inspect/`.
 */
import { parseArgs } from 'node:util'
import { openStoredModel } from '../gpu-worker/model/checkpoint.ts'
import { CheckpointError } from '../gpu-worker/model/checkpoint-error.ts'
import { examineModel } from '../gpu-worker/model/layout.ts'
import { loadModelText } from '../gpu-worker/model/model-text.ts'
import { wrongWeightShapes } from '../gpu-worker/model/weight-shapes.ts'
import { accountOf, type Account } from './inspect/account.ts'
import { reportOf } from './inspect/report.ts'
import { reportFailure } from './report-failure.ts'

const HELP = `npm run --silent axle -- inspect DIR [--json]

Tells what the checkpoint in DIR is: the model's shape, its parameters (all, and active for one token), its weights by
kind and stored format with their bytes on disk and on the GPU, which tensors are ignored and why, and everything that
is missing, misshapen or not supported. Reads config.json, headers and the text side, no weights; opens no GPU.

  --json   the same as JSON, every ignored tensor named

Exit code: 0 when Axle can load it, 1 when not, with every reason.`

/** Prints the account; sets exit code 1 for a checkpoint that cannot be loaded. */
export async function inspect(args: string[]): Promise<void> {
  try {
    const options = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
    const { values, positionals } = parseArgs({ args, options, strict: true, allowPositionals: true })
    if (values.help === true) {
      console.log(HELP)
      return
    }
    const [dir, ...others] = positionals
    if (dir === undefined || others.length > 0) throw new TypeError(`Expected one folder\n\n${HELP}`)
    await tell(dir, values.json === true)
  } catch (error) {
    reportFailure(error)
  }
}

async function tell(dir: string, asJson: boolean): Promise<void> {
  const account = await readAccount(dir)
  console.log(asJson ? JSON.stringify(account, null, 2) : reportOf(account))
  if (account.problems.length > 0) process.exitCode = 1
}

/** Why nobody could chat with it; null when they could. */
async function textProblemOf(dir: string): Promise<string | null> {
  try {
    await loadModelText(dir, dir)
    return null
  } catch (error) {
    if (error instanceof CheckpointError) return error.message
    throw error
  }
}

async function readAccount(dir: string): Promise<Account> {
  const model = await openStoredModel(dir)
  try {
    const { layout, problems } = examineModel(model.config, model.tensors, model.quantization)
    const all = problems.length > 0 ? problems : await wrongWeightShapes(model, layout)
    return { ...accountOf(model, layout, all), textProblem: await textProblemOf(dir) }
  } finally {
    await model.close()
  }
}
