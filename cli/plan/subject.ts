/**
 * What a plan is made for: a folder as it is stored, a folder in another mix of formats, or a model known by name.
 *
 * Reads config.json and, for a folder as stored, the headers of its shards.
 */
import { checkpointName } from '../../gpu-worker/model/checkpoint-name.ts'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { readInside } from '../../gpu-worker/model/checkpoint-folder.ts'
import { MODEL_CONFIG_BYTES_MAX, openStoredModel } from '../../gpu-worker/model/checkpoint.ts'
import { parseModelConfig, type ModelConfig } from '../../gpu-worker/model/config.ts'
import { layoutModel, type ModelLayout } from '../../gpu-worker/model/layout.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { parseStrictJson } from '../../gpu-worker/model/strict-json.ts'
import type { PlanArguments } from './arguments.ts'

export interface Subject {
  readonly name: string
  /** How the weights are stored, in words. */
  readonly storage: string
  readonly config: ModelConfig
  readonly layout: ModelLayout
}

const PUBLISHED_MIX: CheckpointMix = { experts: 'bf16', rest: 'bf16', group: 32, layout: 'fused' }

/** Throws CheckpointError for a folder that is no checkpoint of the family, RangeError for a mix that cannot be. */
export async function subjectOf(source: PlanArguments['source'], mix: CheckpointMix | null): Promise<Subject> {
  if (source.kind === 'preset') return inMix(`preset ${source.name}`, preset(source.name), mix ?? PUBLISHED_MIX)
  const name = checkpointName(source.dir)
  if (mix !== null) return inMix(name, await readConfig(source.dir), mix)
  const checkpoint = await openStoredModel(source.dir)
  try {
    const { config, tensors, quantization } = checkpoint
    return { name, storage: 'as stored', config, layout: layoutModel(config, tensors, quantization) }
  } finally {
    await checkpoint.close()
  }
}

function inMix(name: string, config: ModelConfig, mix: CheckpointMix): Subject {
  const { tensors, quantization } = checkpointShape(config, mix)
  const groups = mix.experts.startsWith('int') || mix.rest === 'int8' ? `, a scale for ${mix.group} columns` : ''
  const storage = `experts ${mix.experts}, rest ${mix.rest}${groups}`
  return { name, storage, config, layout: layoutModel(config, tensors, quantization) }
}

/** The folder's config.json alone: a plan in another mix needs no weights there. */
async function readConfig(dir: string): Promise<ModelConfig> {
  const bytes = await readInside(dir, 'config.json', MODEL_CONFIG_BYTES_MAX)
  if (bytes === null) throw new CheckpointError('config.json', `there is no such file in ${dir}`)
  return parseModelConfig(parseStrictJson('config.json', bytes))
}
