/** Decode and prefill as tables: roof beside as built, devices side by side. Computes nothing. */
import { brief, briefGigabytes, duration, row, whole } from './numbers.ts'
import type { DevicePlan } from './plan.ts'
import type { DecodePlan, PrefillPlan } from './speed.ts'

export function speedTables(devices: readonly DevicePlan[]): string[] {
  const contexts = [...new Set((devices[0]?.decode ?? []).map(({ contextTokens }) => contextTokens))]
  return [...contexts.map((context) => decodeTable(devices, context)), prefillTable(devices)]
}

/** B, how it passes the stages, distinct experts, GB. */
const LEAD = [5, 7, 8, 8] as const
const LEAD_WIDTH = LEAD.reduce<number>((sum, width) => sum + width, 0)
/** Milliseconds and tokens/s, roof and as built. */
const PACE = [6, 6, 6, 6] as const
const PACE_WIDTH = PACE.reduce<number>((sum, width) => sum + width, 0)

function decodeTable(devices: readonly DevicePlan[], contextTokens: number): string {
  const plans = devices.map(({ decode }) => decode.filter((entry) => entry.contextTokens === contextTokens))
  const each = (cells: readonly string[]): string[] => devices.flatMap(() => cells)
  const head = [LEAD_WIDTH, ...devices.map(() => PACE_WIDTH)]
  const kinds = [LEAD_WIDTH, ...devices.flatMap(() => [PACE[0] + PACE[1], PACE[2] + PACE[3]])]
  const widths = [...LEAD, ...devices.flatMap(() => PACE)]
  const isPipeline = devices.some(({ stages }) => stages.length > 1)
  const rows = (plans[0] ?? []).flatMap((first, i) => {
    const entries = plans.flatMap((entriesOfDevice) => entriesOfDevice[i] ?? [])
    if (!entries.some(({ fits }) => fits)) return []
    const { sequences, microBatches, sequencesEach, distinctExperts, bytes } = first
    const shape = isPipeline ? `${microBatches}×${sequencesEach}` : ''
    const lead = [whole(sequences), shape, distinctExperts.toFixed(1), briefGigabytes(bytes)]
    return [row(widths, [...lead, ...entries.flatMap(paceCells)])]
  })
  const title = `Decode, ${whole(contextTokens)} tokens behind each sequence: ms from token to token, tokens/s of all`
  if (rows.length === 0) return `${title}\n  not one sequence of this context fits`
  const last = plans[0]?.[rows.length - 1]?.sequences ?? 0
  const isShort = plans.flat().some(({ fits }) => !fits)
  const cut = rows.length < (plans[0]?.length ?? 0) ? [`  more than ${whole(last)} fit on none of these`] : []
  return [
    isShort ? `${title} (–: too large)` : title,
    row(head, ['', ...devices.map(nameOf)]),
    row(kinds, ['', ...each(['roof', 'as built'])]),
    row(widths, ['B', isPipeline ? 'as' : '', 'experts', 'GB', ...each(['ms', 'tok/s', 'ms', 'tok/s'])]),
    ...rows,
    ...cut,
  ].join('\n')
}

export function nameOf({ device, stages }: DevicePlan): string {
  return `${stages.length} × ${device.name}`
}

function paceCells({ fits, roof, asBuilt }: DecodePlan): string[] {
  if (!fits) return ['–', '–', '–', '–']
  return [roof, asBuilt].flatMap(({ seconds, tokensPerSecond }) => [brief(seconds * 1000), brief(tokensPerSecond)])
}

function prefillTable(devices: readonly DevicePlan[]): string {
  const widths = [-LEAD_WIDTH, ...devices.map(() => PACE_WIDTH)]
  const line = (label: string, of: (device: DevicePlan) => string): string => row(widths, [label, ...devices.map(of)])
  const chunks = devices[0]?.prefill ?? []
  const hasMatrix = devices.some(({ device }) => device.matrixFlopsPerSecond !== null)
  const fitsSomewhere = devices.some(({ prefill }) => prefill.some(({ fits }) => fits))
  const lines = chunks.flatMap(({ chunkTokens }, i) => [
    line(`  chunks of ${whole(chunkTokens)}: roof`, ({ prefill }) => timeAndRate(prefill[i], 'roofSeconds')),
    line('    as built', ({ prefill }) => timeAndRate(prefill[i], 'asBuiltSeconds')),
    ...(hasMatrix ? [line('    roof of matrix units', ({ prefill }) => timeAndRate(prefill[i], 'matrixSeconds'))] : []),
  ])
  const ridges = [
    line('  ridge: tokens a chunk, f32', ({ ridge }) => whole(ridge.f32)),
    ...(hasMatrix
      ? [line('    matrix units', ({ ridge }) => (ridge.matrix === null ? '–' : whole(ridge.matrix)))]
      : []),
  ]
  return [
    `Prefill, a prompt of ${whole(chunks[0]?.promptTokens ?? 0)} tokens alone: time to its last token, tokens/s`,
    line('', nameOf),
    ...(fitsSomewhere ? lines : ['  it fits on none of these']),
    ...ridges,
  ].join('\n')
}

function timeAndRate(plan: PrefillPlan | undefined, which: 'roofSeconds' | 'asBuiltSeconds' | 'matrixSeconds'): string {
  const seconds = plan?.[which] ?? null
  if (plan === undefined || seconds === null || !plan.fits) return '–'
  return `${duration(seconds)}${brief(plan.promptTokens / seconds).padStart(8)}`
}
