/**
 * The token ids that source and result are compared on: a file's `ids.<k>`, the folder's own `chats.json`, or fixed texts.
 *
 * Always the same for the same folder, within the model's vocabulary and context, and no more than their logits may take.
 * It computes none.
 */
import { z } from 'zod'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { openInside, readInside } from '../../gpu-worker/model/checkpoint-folder.ts'
import { MODEL_CONFIG_BYTES_MAX } from '../../gpu-worker/model/checkpoint.ts'
import { parseModelConfig, type ModelConfig } from '../../gpu-worker/model/config.ts'
import { readSafetensors } from '../../gpu-worker/model/safetensors.ts'
import { parseStrictJson } from '../../gpu-worker/model/strict-json.ts'
import { loadTokenizer } from '../../gpu-worker/model/tokenizer.ts'
import { TOKENIZER_FILE } from '../../gpu-worker/model/tokenizer-file.ts'

export interface LogitPrompts {
  /** Where they come from, for the report. */
  readonly origin: string
  /** One at least, none empty. */
  readonly prompts: readonly (readonly number[])[]
}

/** Of f32 logits, kept for the comparison. A.X K1's vocabulary leaves 409 positions. */
const LOGIT_BYTES_MAX = 256 << 20
const CHATS_FILE = 'chats.json'
const CONFIG_FILE = 'config.json'
const CHATS_BYTES_MAX = 1 << 20
const chats = z.array(z.object({ prompt: z.string(), completion: z.string() }))

const TEXTS = [
  'The quick brown fox jumps over the lazy dog. Every letter of the alphabet is in that sentence, which is why typists like it.',
  'A mixture of experts sends each token to a few of many small networks; a router decides which, and a shared one sees all.',
  'Q: A train leaves at 9:40 and arrives at 13:05. How long does it take?\nA: From 9:40 to 13:05 there are 3 hours and 25 minutes.',
  '서울은 대한민국의 수도이며, 한강이 도시를 가로질러 흐른다. 1천만 명에 가까운 사람들이 이곳에 산다.',
  '번역해 줘: "작은 모델이라도 양자화하면 오차가 생긴다." → "Even a small model gains an error when it is quantised."',
  'def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\nprint(fibonacci(30))  # 832040\n',
  '{"name": "Mina", "age": 31, "city": "Seoul", "languages": ["ko", "en"], "address": null, "scores": [98.5, 87, 91.25]}',
  'SELECT city, count(*) FROM people WHERE age >= 18 GROUP BY city ORDER BY 2 DESC LIMIT 10; -- 도시별 성인 수',
]

/** Null when there is no file of ids and the folder has no tokenizer. Throws CheckpointError and, of wrong ids, RangeError. */
export async function logitPrompts(dir: string, idsFile: string | null): Promise<LogitPrompts | null> {
  const found = idsFile === null ? await promptsOf(dir) : { origin: '--ids-file', prompts: await readIds(idsFile) }
  if (found === null) return null
  const bytes = await readInside(dir, CONFIG_FILE, MODEL_CONFIG_BYTES_MAX)
  if (bytes === null) throw new CheckpointError(CONFIG_FILE, `there is no such file in ${dir}`)
  const prompts = bounded(found.prompts, parseModelConfig(parseStrictJson(CONFIG_FILE, bytes)))
  if (prompts.length === 0) throw new RangeError(`${found.origin}: there are no token ids to compare logits on`)
  return { ...found, prompts }
}

function bounded(prompts: LogitPrompts['prompts'], { vocabSize, contextTokensMax }: ModelConfig): number[][] {
  let positionsLeft = Math.floor(LOGIT_BYTES_MAX / (vocabSize * 4))
  const kept: number[][] = []
  for (const prompt of prompts) {
    const wrong = prompt.find((id) => id < 0 || id >= vocabSize)
    if (wrong !== undefined) throw new RangeError(`Expected ids 0 … ${vocabSize - 1}, got ${wrong}`)
    const ids = prompt.slice(0, Math.min(positionsLeft, contextTokensMax))
    positionsLeft -= ids.length
    if (ids.length > 0) kept.push(ids)
  }
  return kept
}

async function promptsOf(dir: string): Promise<LogitPrompts | null> {
  const tokenizerFile = await openInside(dir, TOKENIZER_FILE)
  if (tokenizerFile === null) return null
  await tokenizerFile.handle.close()
  const tokenizer = await loadTokenizer(dir)
  const bytes = await readInside(dir, CHATS_FILE, CHATS_BYTES_MAX)
  if (bytes === null) return { origin: 'built-in texts', prompts: TEXTS.map((text) => tokenizer.encodeText(text)) }
  const parsed = chats.safeParse(parseStrictJson(CHATS_FILE, bytes))
  if (!parsed.success) throw new CheckpointError(CHATS_FILE, 'expected a list of {prompt, completion}')
  const prompts = parsed.data.map(({ prompt, completion }) => tokenizer.encodeMarked(prompt + completion))
  return { origin: CHATS_FILE, prompts }
}

async function readIds(path: string): Promise<number[][]> {
  const file = await readSafetensors(path)
  try {
    const prompts: number[][] = []
    for (const { name, type, shape } of file.tensors.values()) {
      if (!name.startsWith('ids.')) continue
      if (type !== 'i32' || shape.length !== 1) {
        throw new CheckpointError(path, `${name}: expected i32 [T], got ${type} [${shape.join()}]`)
      }
      const bytes = await file.read(name)
      prompts.push([...new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)])
    }
    if (prompts.length === 0) throw new CheckpointError(path, 'there is no tensor ids.<k>')
    return prompts
  } finally {
    await file.close()
  }
}
