/**
 * `bench streams`: axk1-tiny through the whole engine on this adapter, and transformers on the same GPU, in one run.
 *
 * What a dispatch, a submit and a way back cost here; tokens/s of 1 to 256 streams; the host's share of a step. Where there
 * is no Python with torch the others are measured all the same. Prompts and steps are those of `bench peers`. Tokens that
 * differ from float32's are counted, not refused: another order of sums may decide a near tie otherwise.
 */
import { join } from 'node:path'
import { probe, type ProbeBench } from '../../cli/plan/probe-bench.ts'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { dice } from '../../test/fixtures/dice.ts'
import { decode } from '../peers/engine-streams.ts'
import { type PeerAnswer, type PeerDtype, type PeerOrder, TransformersPeer } from '../peers/transformers-peer.ts'
import { machineName, percentile, type Figure, type Report } from '../report.ts'
import { alone } from '../roofline.ts'
import { stepTimes } from '../scaling/step-times.ts'

const modelDir = join(import.meta.dirname, '../../models/axk1-tiny')
const streamCounts = { gpu: [1, 8, 64, 256], cpu: [1, 8] } as const
const dtypes = ['float32', 'bfloat16'] as const
const promptTokens = 184
const contextTokens = 192
const stepCount = 32
const roundCount = 2
const costRounds = 200
const tenantId = 'bench'

export async function streams(): Promise<Report> {
  const gpu = await openDevice()
  const { processor } = gpu
  const costs = await costFigures(gpu)
  gpu.close()
  const counts = streamCounts[processor]
  const { runner, adapter } = await loadRunner({ checkpoint: modelDir, sequencesMax: Math.max(...counts) })
  const device = processor === 'gpu' ? 'cuda' : 'cpu'
  const peer = await Peer.start(device)
  try {
    const decodes = await decodeFigures(runner, peer, counts)
    return {
      bench: 'streams',
      machine: machineName(),
      adapter: adapter.description,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        `Decode: ${stepCount} steps behind prompts of ${promptTokens} tokens, greedy, the best of ${roundCount} rounds in turns. ${peer.told}`,
        `Host: planning, packing, encoding, reading; median of steps at ${contextTokens} tokens.`,
      ],
      figures: [...costs, ...decodes, ...(await hostFigures(runner, counts))],
    }
  } finally {
    await peer.close()
    await runner.close()
  }
}

/** Transformers as far as it is there: it may be missing, or give up on a batch. What is ours is measured all the same. */
class Peer {
  told: string
  #peer: TransformersPeer | null

  private constructor(peer: TransformersPeer | null, told: string) {
    this.#peer = peer
    this.told = told
  }

  static async start(device: 'cuda' | 'cpu'): Promise<Peer> {
    try {
      const python = process.env['AXLE_PYTHON'] ?? 'python3'
      const peer = await TransformersPeer.start(python, modelDir, 2, { device, versions: 'any' })
      const versions = Object.entries(peer.versions).map(([name, version]) => `${name} ${version}`)
      return new Peer(peer, `Beside it on ${device}: ${versions.join(', ')}, generate().`)
    } catch (error) {
      return new Peer(null, `Transformers was not measured: ${messageOf(error)}`)
    }
  }

  /** Null when it is not there, or no longer. */
  async ask(order: PeerOrder): Promise<PeerAnswer | null> {
    try {
      return (await this.#peer?.ask(order)) ?? null
    } catch (error) {
      this.told += ` It gave up at ${order.prompts.length} streams in ${order.dtype}: ${messageOf(error)}`
      await this.close()
      this.#peer = null
      return null
    }
  }

  async close(): Promise<void> {
    await this.#peer?.close()
  }
}

async function decodeFigures(runner: ModelRunner, peer: Peer, counts: readonly number[]): Promise<Figure[]> {
  const engine = new Engine(runner)
  const figures: Figure[] = []
  for (const count of counts) {
    const prompts = drawPrompts(count, runner.limits.vocabSize)
    const best = new Map<'ours' | PeerDtype, number>()
    const keep = (who: 'ours' | PeerDtype, ms: number): void => {
      best.set(who, Math.min(best.get(who) ?? Infinity, ms))
    }
    let [alike, compared] = [0, 0]
    await decode(engine, prompts, 1, tenantId)
    for (let round = 0; round < roundCount; round += 1) {
      const ours = await decode(engine, prompts, stepCount, tenantId)
      keep('ours', ours.stepMs)
      for (const dtype of dtypes) {
        const answer = await peer.ask({ dtype, prompts, new: stepCount + 1 })
        if (answer === null) continue
        const { seconds, tokens } = answer
        keep(dtype, (1000 * ((seconds.at(-1) ?? NaN) - (seconds[0] ?? NaN))) / stepCount)
        if (dtype !== 'float32') continue
        compared += tokens.length
        alike += tokens.filter((own, i) => own.join() === ours.tokens[i]?.slice(0, own.length).join()).length
      }
    }
    const name = `${count} ${count === 1 ? 'stream' : 'streams'}`
    for (const [who, ms] of best)
      figures.push({ name: `${name}: ${who}`, value: (1000 * count) / ms, unit: 'tokens/s' })
    if (!best.has('bfloat16')) continue
    const [ours = NaN, float32 = NaN, bfloat16 = NaN] = (['ours', ...dtypes] as const).map((who) => best.get(who))
    figures.push({ name: `${name}: ours / the faster dtype`, value: Math.min(float32, bfloat16) / ours, unit: '×' })
    figures.push({ name: `${name}: answers that are float32’s`, value: alike, unit: `of ${compared}` })
  }
  return figures
}

async function hostFigures(runner: ModelRunner, counts: readonly number[]): Promise<Figure[]> {
  const cells = await stepTimes(runner, [contextTokens], counts, stepCount)
  return cells.flatMap(({ sequenceCount, stepMs, hostMs, dispatchCount }) => [
    { name: `step of ${sequenceCount}`, value: stepMs, unit: `ms, ${dispatchCount} dispatches` },
    { name: `step of ${sequenceCount}: host`, value: (100 * hostMs) / stepMs, unit: '%' },
  ])
}

/** Of the smallest pieces of work that there are. */
async function costFigures(gpu: Gpu): Promise<Figure[]> {
  const dispatch = await alone(gpu, (bench: ProbeBench) =>
    bench.seconds([probe('count', ['write'], [bench.storage('counter', 4)], {}, 1)]),
  )
  const buffers = new Buffers(gpu, 'costs')
  const source = buffers.storage('source', 256)
  const readback = new Readback(gpu, buffers, source.bytes)
  const { queue } = gpu.device
  const submit = await medianMicros(() => {
    queue.submit([gpu.device.createCommandEncoder().finish()])
    return Promise.resolve()
  })
  const answer = await medianMicros(async () => {
    queue.submit([gpu.device.createCommandEncoder().finish()])
    await gpu.idle('an empty submit')
  })
  const back = await medianMicros(async () => {
    const encoder = gpu.device.createCommandEncoder()
    readback.copy(encoder, source, source.bytes)
    queue.submit([encoder.finish()])
    await readback.read(source.bytes, 'a few bytes')
  })
  buffers.close()
  return [
    { name: 'a dispatch in one pass', value: dispatch * 1e6, unit: 'µs' },
    { name: 'an empty submit, encoded and given', value: submit, unit: 'µs' },
    { name: 'an empty submit and its answer', value: answer, unit: 'µs' },
    { name: 'copy, submit and read back 256 bytes', value: back, unit: 'µs' },
  ]
}

async function medianMicros(run: () => Promise<void>): Promise<number> {
  const samples: number[] = []
  for (let round = 0; round < costRounds; round += 1) {
    const startedMs = performance.now()
    await run()
    samples.push(1000 * (performance.now() - startedMs))
  }
  return percentile(samples, 0.5)
}

function drawPrompts(count: number, vocabSize: number): number[][] {
  const draw = dice(count * promptTokens)
  return Array.from({ length: count }, () => Array.from({ length: promptTokens }, () => draw(1, vocabSize - 1)))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
}
