/**
 * The routes of axk1-tiny's twelve chats as transformers took them, as steps of streams side by side: prompts whole, then
 * decodes, the next chat where one ends. Knows no cache.
 */
import { join } from 'node:path'
import { readSafetensors } from '../../gpu-worker/model/safetensors.ts'
import type { Trace } from './replay.ts'

const FILE = join(import.meta.dirname, '../../models/axk1-tiny/expected.safetensors')
const CHATS = 12
/** How often all chats are gone through. */
const TURNS = 3

export interface RecordedRoutes {
  readonly expertCount: number
  /** By layer. */
  readonly traces: readonly Trace[]
}

interface Chat {
  readonly promptTokens: number
  /** By layer, by token. */
  readonly chosen: readonly (readonly number[])[][]
}

const EXPERTS_PER_TOKEN = 4

export async function recordedRoutes(streamCount: number): Promise<RecordedRoutes> {
  const file = await readSafetensors(FILE)
  try {
    const ints = async (name: string): Promise<number[]> => {
      const bytes = await file.read(name)
      return [...new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)]
    }
    const chats: Chat[] = []
    for (let k = 0; k < CHATS; k++) {
      const names = [...file.tensors.keys()].filter((name) => name.startsWith(`experts.${k}.`))
      const [promptTokens = 0] = await ints(`prompt_length.${k}`)
      const chosen: number[][][] = []
      for (const name of names) {
        const flat = await ints(name)
        chosen.push(
          Array.from({ length: flat.length / EXPERTS_PER_TOKEN }, (_, t) =>
            flat.slice(t * EXPERTS_PER_TOKEN, (t + 1) * EXPERTS_PER_TOKEN),
          ),
        )
      }
      chats.push({ promptTokens, chosen })
    }
    const layerCount = chats[0]?.chosen.length ?? 0
    return {
      expertCount: 24,
      traces: Array.from({ length: layerCount }, (_, layer) => traceOf(chats, layer, streamCount)),
    }
  } finally {
    await file.close()
  }
}

function traceOf(chats: readonly Chat[], layer: number, streamCount: number): Trace {
  const waiting = Array.from({ length: TURNS }, () => chats).flat()
  const trace: Set<number>[] = []
  let live: { readonly tokens: readonly (readonly number[])[]; next: number }[] = []
  for (;;) {
    while (live.length < streamCount) {
      const chat = waiting.shift()
      if (chat === undefined) return trace
      const tokens = chat.chosen[layer] ?? []
      trace.push(new Set(tokens.slice(0, chat.promptTokens).flat()))
      live.push({ tokens, next: chat.promptTokens })
    }
    live = live.filter(({ tokens, next }) => next < tokens.length)
    if (live.length < streamCount) continue
    trace.push(new Set(live.flatMap((stream) => stream.tokens[stream.next++] ?? [])))
  }
}
