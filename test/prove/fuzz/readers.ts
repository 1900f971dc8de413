/**
 * What is fuzzed: everything that reads a checkpoint folder without a GPU. And readers that must be caught.
 *
 * A reader returns when the folder loads and throws when it does not. It does not know what was changed.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../../../contract/errors.ts'
import { openCheckpoint } from '../../../gpu-worker/model/checkpoint.ts'
import { layoutModel } from '../../../gpu-worker/model/layout.ts'
import { loadModelText } from '../../../gpu-worker/model/model-text.ts'

export type Reader = (dir: string) => Promise<void>

const CHUNK_BYTES = 1024

/** Config, quantisation, every header, the layout of the whole model, first and last bytes of every tensor. */
const weights: Reader = async (dir) => {
  const checkpoint = await openCheckpoint(dir)
  try {
    layoutModel(checkpoint.config, checkpoint.tensors, checkpoint.quantization)
    for (const { name, byteLength } of checkpoint.tensors.values()) {
      await checkpoint.read(name, 0, Math.min(byteLength, CHUNK_BYTES))
      await checkpoint.read(name, Math.max(0, byteLength - CHUNK_BYTES), byteLength)
    }
  } finally {
    await checkpoint.close()
  }
}

/** Tokenizer, template, defaults; then a chat as a request would bring it, there and back. */
const text: Reader = async (dir) => {
  const model = await loadModelText(dir, 'fuzzed')
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello <|im_start|> 안녕 👋🏽 12345   \n\tx' },
  ] as const
  for (const think of [false, true]) {
    let ids: number[] = []
    try {
      ids = model.promptTokens({ messages, think })
    } catch (error) {
      // The one error that a chat may cause.
      if (!(error instanceof AppError)) throw error
    }
    model.decode(ids)
    const answer = model.answer({ think, stop: ['stop'] })
    for (const id of ids.slice(0, 64)) answer.push(id)
  }
}

/** Believes what a safetensors file says of itself. */
const unchecked: Reader = async (dir) => {
  for (const name of await readdir(dir)) {
    if (!name.endsWith('.safetensors')) continue
    const bytes = await readFile(join(dir, name))
    const dataStart = 8 + Number(bytes.readBigUInt64LE(0))
    const header: unknown = JSON.parse(bytes.toString('utf8', 8, dataStart))
    for (const [tensor, { data_offsets: offsets }] of Object.entries(header as Believed)) {
      if (tensor === '__metadata__') continue
      new Uint8Array(offsets[1] - offsets[0]).set(bytes.subarray(dataStart + offsets[0], dataStart + offsets[1]))
    }
  }
}

type Believed = Record<string, { data_offsets: [begin: number, end: number] }>

const hanging: Reader = async (dir) => {
  await weights(dir).catch(() => {
    for (;;);
  })
}

const hoard: Uint8Array[] = []
const hoarding: Reader = async (dir) => {
  await weights(dir).catch(() => {
    hoard.push(new Uint8Array(1 << 30).fill(1))
  })
}

const dying: Reader = async (dir) => {
  await weights(dir).catch(() => process.exit(3))
}

export const readers: Readonly<Record<string, (base: string) => Reader>> = {
  axle: (base) => (base === 'axk1-tiny' ? text : weights),
  unchecked: () => unchecked,
  hanging: () => hanging,
  hoarding: () => hoarding,
  dying: () => dying,
}
