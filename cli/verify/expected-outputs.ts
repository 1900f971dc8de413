/**
 * What a reference said of a checkpoint, out of a safetensors file: token ids, and logits, greedy answers, routed experts.
 *
 *     ids.<k>              i32 [T]
 *     logits.<k>           f32 [T, vocab]   every position of one causal forward
 *     greedy.<k>           i32 [n]          what follows the ids; or their first `prompt_length.<k>` (i32 [1])
 *     experts.<k>.<layer>  i32 [T, topK]    ascending
 *
 * It knows no model and compares nothing.
 */
import { basename } from 'node:path'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { readSafetensors, type SafetensorsFile, type StoredType } from '../../gpu-worker/model/safetensors.ts'

export interface ExpectedPrompt {
  readonly key: string
  readonly tokenIds: readonly number[]
  /** The greedy answer follows so many of the ids. */
  readonly promptTokens: number
  readonly greedy: readonly number[] | null
  /** Layers whose routed experts are known. */
  readonly expertLayers: readonly number[]
  readonly hasLogits: boolean
}

export class ExpectedOutputs {
  readonly prompts: readonly ExpectedPrompt[]
  /** What the file says of its making: versions by name. */
  readonly metadata: ReadonlyMap<string, string>
  readonly #file: SafetensorsFile

  constructor(file: SafetensorsFile, prompts: readonly ExpectedPrompt[]) {
    this.#file = file
    this.prompts = prompts
    this.metadata = file.metadata
  }

  /** f32 [T, vocab] */
  async logits(prompt: ExpectedPrompt): Promise<Float32Array> {
    const { buffer } = await this.#file.read(`logits.${prompt.key}`)
    return new Float32Array(buffer)
  }

  /** i32 [T, topK], ascending */
  async experts(prompt: ExpectedPrompt, layer: number): Promise<Int32Array> {
    const { buffer } = await this.#file.read(`experts.${prompt.key}.${layer}`)
    return new Int32Array(buffer)
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

/** Throws CheckpointError when the file holds no prompts, or tensors of other types. The caller closes. */
export async function openExpectedOutputs(path: string): Promise<ExpectedOutputs> {
  const file = await readSafetensors(path)
  try {
    const prompts: ExpectedPrompt[] = []
    for (const name of file.tensors.keys()) {
      if (name.startsWith('ids.')) prompts.push(await readPrompt(file, basename(path), name.slice('ids.'.length)))
    }
    if (prompts.length === 0) throw new CheckpointError(basename(path), 'there is no tensor ids.<k>')
    const inOrder = prompts.toSorted((a, b) => a.key.localeCompare(b.key, 'en', { numeric: true }))
    return new ExpectedOutputs(file, inOrder)
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readPrompt(file: SafetensorsFile, path: string, key: string): Promise<ExpectedPrompt> {
  const has = (name: string, type: StoredType): boolean => {
    const found = file.tensors.get(name)
    if (found !== undefined && found.type !== type) {
      throw new CheckpointError(path, `${name}: expected ${type}, got ${found.type}`)
    }
    return found !== undefined
  }
  const integers = async (name: string): Promise<readonly number[] | null> =>
    has(name, 'i32') ? [...new Int32Array((await file.read(name)).buffer)] : null
  const tokenIds = (await integers(`ids.${key}`)) ?? []
  const [promptTokens = tokenIds.length] = (await integers(`prompt_length.${key}`)) ?? []
  const layerPattern = /^(?:experts\.)(.+)\.(\d+)$/
  const expertLayers: number[] = []
  for (const name of file.tensors.keys()) {
    const match = layerPattern.exec(name)
    if (match?.[1] === key && has(name, 'i32')) expertLayers.push(Number(match[2]))
  }
  return {
    key,
    tokenIds,
    promptTokens,
    greedy: await integers(`greedy.${key}`),
    expertLayers: expertLayers.toSorted((a, b) => a - b),
    hasLogits: has(`logits.${key}`, 'f32'),
  }
}
