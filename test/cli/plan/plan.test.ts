/** Plans of A.X K1: what serving's own layout and cache say it takes, what fits where, and the shape of predictions. */
import { describe, expect, it } from 'vitest'
import { knownDevice, type Device } from '../../../cli/plan/devices.ts'
import { makePlan, type DevicePlan, type Plan } from '../../../cli/plan/plan.ts'
import { serveMemory } from '../../../cli/plan/serve-memory.ts'
import { subjectOf, type Subject } from '../../../cli/plan/subject.ts'
import type { CheckpointMix } from '../../../gpu-worker/model/checkpoint-shape.ts'
import { layoutBytes } from '../../../gpu-worker/model/layout-sizes.ts'
import { memoryOf } from '../../../gpu-worker/model/memory.ts'
import type { Profile } from '../../../gpu-worker/model/profile.ts'

const MIXES = {
  published: null,
  fp8: { experts: 'fp8', rest: 'bf16', group: 32, layout: 'fused' },
  int4: { experts: 'int4', rest: 'int8', group: 32, layout: 'fused' },
  'int4 g128': { experts: 'int4', rest: 'int8', group: 128, layout: 'fused' },
} as const satisfies Record<string, CheckpointMix | null>

type Mix = keyof typeof MIXES

const subjects = new Map<Mix, Promise<Subject>>()

function axk1(mix: Mix): Promise<Subject> {
  const subject = subjects.get(mix) ?? subjectOf({ kind: 'preset', name: 'axk1' }, MIXES[mix])
  subjects.set(mix, subject)
  return subject
}

interface Asked {
  readonly mix: Mix
  readonly device?: string
  readonly count?: number
  readonly contextTokens?: number
  readonly sequences?: number
  readonly profile?: Profile
  readonly expertSlots?: number
}

async function plan(asked: Asked): Promise<{ readonly made: Plan; readonly on: DevicePlan }> {
  const { config, layout } = await axk1(asked.mix)
  const { contextTokens = 4096, sequences = 1, count = 1, profile = 'kv16', expertSlots = null } = asked
  const devices = [known(asked.device ?? 'h200')]
  const memory = serveMemory(config, profile)
  const made = makePlan({ config, layout, devices, count, demand: { contextTokens, sequences }, memory, expertSlots })
  const [on] = made.devices
  if (on === undefined) throw new Error('The plan has no device')
  return { made, on }
}

function known(name: string): Device {
  const device = knownDevice(name, { experts: 'int4', rest: 'int8', pages: 'f16' })
  if (device === null) throw new Error(`There is no device ${name}`)
  return device
}

describe('makePlan() of A.X K1', { timeout: 60_000 }, () => {
  it('counts 518,983,059,456 parameters, 32.78 billion active, 507,343,011,840 in routed experts', async () => {
    const { made } = await plan({ mix: 'published' })
    expect(made.parameters.total).toBe(518_983_059_456)
    expect(made.parameters.active / 1e9).toBeCloseTo(32.78, 2)
    const routed = made.weights.shares.filter(({ kind }) => kind === 'routedExperts')
    const bytes = 2 * 507_343_011_840
    expect(routed).toEqual([{ kind: 'routedExperts', format: 'bf16', parameters: 507_343_011_840, bytes }])
    // The rest, less the one norm that is stored and not used.
    const all = made.weights.shares.reduce((sum, { parameters }) => sum + parameters, 0)
    expect(all - 507_343_011_840).toBe(11_640_047_616 - 7168)
  })

  it('takes 70,272 cache bytes a token in kv16, twice that in exact', async () => {
    const { made } = await plan({ mix: 'published', contextTokens: 131_072, sequences: 3 })
    const bytesPerSequence = 70_272 * 131_072
    expect(made.cache).toEqual({ bytesPerToken: 70_272, bytesPerSequence, bytes: 3 * bytesPerSequence })
    expect((await plan({ mix: 'published', profile: 'exact' })).made.cache.bytesPerToken).toBe(2 * 70_272)
  })

  it.each(['published', 'fp8', 'int4'] as const)('counts the bytes that loading allocates: %s', async (mix) => {
    const { made, on } = await plan({ mix, count: 8 })
    const { layout } = await axk1(mix)
    const loaded = Object.values(layoutBytes(layout)).reduce((sum, bytes) => sum + bytes, 0)
    expect(made.weights.bytes).toBe(loaded)
    expect(on.stages.reduce((sum, { weightBytes }) => sum + weightBytes, 0)).toBe(loaded)
  })

  it('needs what serving accounts for, but for the shaders’ parameters', async () => {
    const { config, layout } = await axk1('int4')
    const { on } = await plan({ mix: 'int4', contextTokens: 8192, sequences: 32 })
    const device = { bindingBytesMax: on.device.bindingBytesMax, uniformAlignmentBytes: 256 }
    const limits = { rowsMax: 256, sequencesMax: 32, blockCount: 32 * 256, contextTokensMax: config.contextTokensMax }
    const account = memoryOf({ config, layout, profile: 'kv16', device }, limits)
    const parameters = account.servingBytes + account.uploadBytes - on.fullest.bytes
    expect(parameters).toBeGreaterThanOrEqual(0)
    expect(parameters).toBeLessThan(1 << 20)
  })

  it('counts slots for experts that take turns, and the host’s memory for all of them', async () => {
    const all = (await plan({ mix: 'int4' })).on.fullest
    const half = (await plan({ mix: 'int4', expertSlots: 96 })).on.fullest
    const { config, layout } = await axk1('int4')
    expect(all.waitingBytes).toBe(0)
    expect(half.waitingBytes).toBe(layoutBytes(layout).routedExperts)
    expect(all.weightBytes - half.weightBytes).toBe(half.waitingBytes / 2)
    const device = { bindingBytesMax: 2 ** 31 - 4, uniformAlignmentBytes: 256 }
    const limits = { rowsMax: 256, sequencesMax: 1, blockCount: 128, contextTokensMax: config.contextTokensMax }
    const account = memoryOf({ config, layout, profile: 'kv16', device, expertSlots: 96 }, limits)
    expect(account.hostBytes).toBe(half.waitingBytes)
    expect(account.weightBytes).toBe(half.weightBytes)
  })

  it('stores int4 experts in 4.5 bits a weight with groups of 32, in 4.125 with 128', async () => {
    for (const [mix, bits] of [
      ['int4', 4.5],
      ['int4 g128', 4.125],
    ] as const) {
      const { made } = await plan({ mix })
      const routed = made.weights.shares.find(({ kind }) => kind === 'routedExperts')
      expect(((routed?.bytes ?? 0) * 8) / (routed?.parameters ?? 1)).toBe(bits)
    }
  })

  const cases: readonly (Required<Pick<Asked, 'mix' | 'device' | 'count' | 'contextTokens'>> & { fits: boolean })[] = [
    { mix: 'published', device: 'h100-80g', count: 8, contextTokens: 4096, fits: false },
    { mix: 'published', device: 'h100-80g', count: 16, contextTokens: 4096, fits: true },
    { mix: 'fp8', device: 'h200', count: 8, contextTokens: 131_072, fits: true },
    { mix: 'int4', device: 'h100-80g', count: 8, contextTokens: 131_072, fits: true },
    { mix: 'int4', device: 'h100-80g', count: 4, contextTokens: 4096, fits: true },
    { mix: 'int4', device: 'h100-80g', count: 3, contextTokens: 32, fits: false },
    { mix: 'int4', device: '4090', count: 1, contextTokens: 32, fits: false },
  ]
  it.each(cases)('$mix on $count × $device, $contextTokens tokens: fits is $fits', async ({ fits, ...asked }) => {
    const { verdict, stages } = (await plan(asked)).on
    expect(verdict.fits).toBe(fits)
    expect([stages[0]?.layers.start, stages.at(-1)?.layers.end]).toEqual([0, 61])
  })

  it('says that 64 whole contexts outgrow a binding, and what would not', async () => {
    const { on } = await plan({ mix: 'int4', count: 8, contextTokens: 131_072, sequences: 64 })
    expect(on.verdict).toMatchObject({ fits: false, isCacheBindable: false })
    // (2³¹ − 4) bytes / (32 tokens · 1,152 bytes) = 58,254 blocks, of which a sequence takes 4,096.
    expect(on.wouldFit).toMatchObject({ sequences: 14, contextTokens: Math.floor(58_254 / 64) * 32 })
    expect(on.wouldFit.purchase).toMatchObject({ sets: 5, sequencesEach: 13 })
    const whole = on.decode.filter(({ contextTokens, fits }) => contextTokens === 131_072 && fits)
    expect(whole.map(({ sequences }) => sequences)).toEqual([1, 2, 4, 8, 14])
  })

  it('predicts batches 1, 2, 4, … and the asked one, never faster as built than at the roof', async () => {
    const { on } = await plan({ mix: 'int4', count: 4, sequences: 12 })
    expect(on.decode.map(({ sequences }) => sequences)).toEqual([1, 2, 4, 8, 12])
    for (const { roof, asBuilt } of on.decode) expect(asBuilt.seconds).toBeGreaterThanOrEqual(roof.seconds)
    const speeds = on.decode.map(({ roof }) => roof.tokensPerSecond)
    expect(speeds).toEqual(speeds.toSorted((a, b) => a - b))
  })

  it('predicts a batch of one on one device as bytes over bandwidth and dispatches', async () => {
    const { on } = await plan({ mix: 'int4', device: 'h200', contextTokens: 32 })
    const [first] = on.decode
    // Eight of 192 experts at 4.5 bits, the rest without embedding at its own, 32 tokens of cache.
    const rest = on.fullest.weightBytes - 1_174_405_120 * 2 - (507_343_011_840 * 4.5) / 8
    const bytes = ((507_343_011_840 * 4.5) / 8 / 192) * 8 + rest + 32 * 70_272
    expect((first?.bytes ?? 0) / bytes).toBeCloseTo(1, 5)
    const dispatches = ((first?.roof.seconds ?? 0) - bytes / 4800e9) / on.device.roof.dispatchSeconds
    expect(dispatches).toBeGreaterThan(900)
    expect(dispatches).toBeLessThan(1200)
  })
})

it('says of one card alone that its kernels were measured on it', () => {
  const sources = ['h100-80g', 'h200', 'l40s'].map((name) => known(name).sources.at(-1))
  expect(sources).toEqual([
    'as built: measured on this card',
    'as built: an h100-80g’s, by the f32 rates of both',
    'as built: an h100-80g’s, by the f32 rates of both',
  ])
})
