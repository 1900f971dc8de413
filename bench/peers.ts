/**
 * `npm run bench -- peers`: axk1-tiny's decode against Hugging Face transformers on this CPU, in turns in one run.
 *
 * Both read the same prompts and decode greedily around 200 tokens of context, 1, 8 and 32 streams at once; transformers
 * in float32 and in bfloat16 with two threads, ours through the engine. Every token of ours must be float32's.
 * A round's ratio is that of its own times, against the faster dtype; the figure is the median of the rounds.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Engine } from '../gpu-worker/engine/engine.ts'
import { loadRunner } from '../gpu-worker/model/load-runner.ts'
import { dice } from '../test/fixtures/dice.ts'
import { decode, prefill } from './peers/engine-streams.ts'
import { type PeerDtype, TransformersPeer } from './peers/transformers-peer.ts'
import { type Figure, machineName, percentile, type Report } from './report.ts'

const modelDir = join(import.meta.dirname, '../models/axk1-tiny')
const threadCount = 2
const dtypes = ['float32', 'bfloat16'] as const
const goals = { 1: 2.5, 8: 1.2, 32: 1 } as const
const streamCounts = [1, 8, 32] as const
const roundCount = 3
/** With half of the steps the context around which is measured: 200. */
const promptTokens = 184
const stepCount = 32
/** Prompts that are only read: one long, and eight of everyday length. */
const prefillShapes = [
  { promptCount: 1, tokenCount: 1_024 },
  { promptCount: 8, tokenCount: 192 },
] as const
const prefillRoundCount = 2
const tenantId = 'bench'

type Times = Readonly<Record<'ours' | PeerDtype, number>>

export async function peers(): Promise<Report> {
  const peer = await TransformersPeer.start(process.env['AXLE_PYTHON'] ?? 'python3', modelDir, threadCount)
  try {
    const { runner, adapter } = await loadRunner({ checkpoint: modelDir, sequencesMax: Math.max(...streamCounts) })
    try {
      const engine = new Engine(runner)
      const { vocabSize } = runner.limits
      const figures = await decodeFigures(engine, peer, vocabSize)
      figures.push(...(await prefillFigures(engine, peer, vocabSize)))
      return {
        bench: 'peers',
        machine: machineName(),
        adapter: adapter.description,
        date: new Date().toISOString().slice(0, 10),
        notes: [
          Object.entries(peer.versions)
            .map(([name, version]) => `${name} ${version}`)
            .join(', ') + `, ${threadCount} threads, generate(), greedy`,
          `decode: ${stepCount} steps behind prompts of ${promptTokens} tokens, ${roundCount} rounds in turns; all tokens equal float32's`,
        ],
        figures,
      }
    } finally {
      await runner.close()
    }
  } finally {
    await peer.close()
  }
}

async function decodeFigures(engine: Engine, peer: TransformersPeer, vocabSize: number): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const streams of streamCounts) {
    const prompts = drawPrompts(streams, promptTokens, vocabSize)
    const round = async () => decodeRound(engine, peer, prompts)
    // The first fills caches, compiles, and brings the prompts into the prefix cache.
    await round()
    const rounds: Times[] = []
    for (let index = 0; index < roundCount; index += 1) rounds.push(await round())
    const name = `decode, ${streams} ${streams === 1 ? 'stream' : 'streams'}`
    for (const who of ['ours', ...dtypes] as const) {
      const stepMs = percentile(
        rounds.map((times) => times[who]),
        0.5,
      )
      figures.push({ name: `${name}: ${who}`, value: (streams * 1000) / stepMs, unit: 'tokens/s' })
    }
    const ratios = rounds.map(({ ours, float32, bfloat16 }) => Math.min(float32, bfloat16) / ours)
    const ratio = percentile(ratios, 0.5)
    const goal = goals[streams]
    const judged = { goal: `≥ ${goal}`, holds: ratio >= goal }
    figures.push({ name: `${name}: ours / the faster dtype`, value: ratio, unit: '×', ...judged })
  }
  return figures
}

/** Milliseconds a step of each, one behind the other. */
async function decodeRound(
  engine: Engine,
  peer: TransformersPeer,
  prompts: readonly (readonly number[])[],
): Promise<Times> {
  const ours = await decode(engine, prompts, stepCount, tenantId)
  const stepMs = { float32: NaN, bfloat16: NaN }
  for (const dtype of dtypes) {
    const { tokens, seconds } = await peer.ask({ dtype, prompts, new: stepCount + 1 })
    stepMs[dtype] = (1000 * ((seconds.at(-1) ?? NaN) - (seconds[0] ?? NaN))) / stepCount
    if (dtype !== 'float32') continue
    for (const [stream, answer] of tokens.entries())
      assert.deepEqual(ours.tokens[stream]?.slice(0, answer.length), answer, `Stream ${stream} differs from float32's`)
  }
  return { ours: ours.stepMs, ...stepMs }
}

/** Best of the rounds: reported, not judged. */
async function prefillFigures(engine: Engine, peer: TransformersPeer, vocabSize: number): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const { promptCount, tokenCount } of prefillShapes) {
    const prompts = drawPrompts(promptCount, tokenCount, vocabSize)
    const best = { ours: Infinity, float32: Infinity, bfloat16: Infinity }
    for (let round = 0; round < prefillRoundCount; round += 1) {
      const ours = await prefill(engine, prompts)
      best.ours = Math.min(best.ours, ours.ms)
      for (const dtype of dtypes) {
        const { tokens, seconds } = await peer.ask({ dtype, prompts, new: 1 })
        best[dtype] = Math.min(best[dtype], 1000 * (seconds[0] ?? NaN))
        if (dtype === 'float32') assert.deepEqual(ours.tokens, tokens.flat(), "First tokens differ from float32's")
      }
    }
    for (const [who, ms] of Object.entries(best)) {
      const name = `prefill, ${promptCount} × ${tokenCount} tokens: ${who}`
      figures.push({ name, value: (promptCount * tokenCount * 1000) / ms, unit: 'tokens/s' })
    }
  }
  return figures
}

/** Other prompts for every shape, the same in every run. */
function drawPrompts(promptCount: number, tokenCount: number, vocabSize: number): number[][] {
  const draw = dice(promptCount * tokenCount)
  return Array.from({ length: promptCount }, () => Array.from({ length: tokenCount }, () => draw(1, vocabSize - 1)))
}
