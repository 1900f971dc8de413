/**
 * What one step costs: the bytes it must read, the operations it must do, and from both its time on given rates.
 *
 * Pure arithmetic over a description of the weights; knows no file, no format and no device by name. The parts of a step
 * run one after the other, so each part takes the longer of its reading and its computing, and the parts add up.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { PartRates, Rates } from './devices.ts'

/** The weights of a range of layers, by how a step reads them. */
export interface StageWeights {
  readonly layerCount: number
  /** One routed expert of every expert layer: bytes and parameters. */
  readonly expertBytes: number
  readonly expertParameters: number
  /** Read by every step: attention, dense MLPs, routers, shared experts, norms. */
  readonly restBytes: number
  readonly restParameters: number
  /** Head and final norm, read when a logit is wanted; 0 where another stage has them. */
  readonly headBytes: number
  readonly headParameters: number
  /** Of the embedding, a row is read for each row of the step; 0 where another stage has it. */
  readonly embeddingRowBytes: number
  readonly dispatches: number
}

/** The rows of one step and what they look at. */
export interface StepRows {
  readonly rows: number
  /** Rows whose logits are wanted. */
  readonly logitRows: number
  /** Cache entries read in one layer: each once a step. */
  readonly entriesRead: number
  /** (row, key) pairs that attention scores in one layer. */
  readonly pairs: number
}

/** Each sequence's next token, all with `contextTokens` behind them. */
export function decodeRows(sequences: number, contextTokens: number): StepRows {
  const entries = sequences * contextTokens
  return { rows: sequences, logitRows: sequences, entriesRead: entries, pairs: entries }
}

/** Tokens [start, start + rows) of one prompt; only the last row of the prompt wants logits. */
export function prefillRows(start: number, rows: number, isLast: boolean): StepRows {
  const pairs = rows * start + (rows * (rows + 1)) / 2
  return { rows, logitRows: isLast ? 1 : 0, entriesRead: start + rows, pairs }
}

export interface Work {
  readonly bytes: number
  readonly flops: number
}

export interface StepWork {
  readonly experts: Work
  readonly rest: Work
  readonly attention: Work
  readonly rows: number
  readonly dispatches: number
}

/**
 * How often weights are read. `once`: each weight that a step needs, once. Otherwise as Axle's kernels do. On a `cpu`: a routed
 * expert once for each row that chose it, other weights once for four rows. On a `gpu`: other weights once for eight rows, and
 * an expert once for eight that chose it, in steps of twelve rows or more.
 */
export type Reading = 'once' | 'cpu' | 'gpu'

/** Rows that share one reading of a weight: `matmul-rows`, and `matmul-panel` at its widest. */
const ROWS_TOGETHER = { cpu: 4, gpu: 8 }
/** Rows that share one reading of an expert, and rows of a step from which they do: `expert-groups.ts`. */
const GROUP_ROWS = 8
const GROUPS_FROM = 12

/**
 * Expected distinct experts among `rows` independent rows that choose `perToken` of `expertCount` each:
 * N · (1 − (1 − k / N)^B). Any skew or affinity lowers it.
 */
export function distinctExperts(expertCount: number, perToken: number, rows: number): number {
  return expertCount * (1 - (1 - perToken / expertCount) ** rows)
}

export function stepWork(
  config: ModelConfig,
  weights: StageWeights,
  entryBytes: number,
  { rows, logitRows, entriesRead, pairs }: StepRows,
  reading: Reading,
): StepWork {
  const { routedExpertCount, expertsPerToken } = config
  const distinct = distinctExperts(routedExpertCount, expertsPerToken, rows)
  const readings = (count: number): number =>
    reading === 'once' ? Math.min(count, 1) : Math.ceil(count / ROWS_TOGETHER[reading])
  return {
    experts: {
      bytes: expertReadings(distinct, rows, expertsPerToken, reading) * weights.expertBytes,
      flops: 2 * rows * expertsPerToken * weights.expertParameters,
    },
    rest: {
      bytes:
        readings(rows) * weights.restBytes + readings(logitRows) * weights.headBytes + rows * weights.embeddingRowBytes,
      flops: 2 * (rows * weights.restParameters + logitRows * weights.headParameters),
    },
    attention: {
      bytes: entriesRead * entryBytes * weights.layerCount,
      flops: pairs * pairFlops(config) * weights.layerCount,
    },
    rows,
    dispatches: weights.dispatches,
  }
}

function expertReadings(distinct: number, rows: number, perToken: number, reading: Reading): number {
  if (reading === 'once' || distinct === 0) return distinct
  const choices = rows * perToken
  if (reading === 'cpu' || rows < GROUPS_FROM) return choices
  return distinct * Math.ceil(choices / distinct / GROUP_ROWS)
}

/** Operations of one (row, key) pair in one layer, absorbed MLA: scores over latent + rope, values over latent. */
export function pairFlops({ headCount, kvLoraRank, qkRopeHeadDim }: ModelConfig): number {
  return headCount * (2 * (kvLoraRank + qkRopeHeadDim) + 2 * kvLoraRank)
}

export interface StepTime {
  readonly seconds: number
  /** What takes most of it. */
  readonly bound: 'reading' | 'arithmetic' | 'dispatches'
}

/** Σ over parts of max(bytes / bandwidth, operations / arithmetic), + dispatches · overhead. */
export function stepTime(work: StepWork, rates: Rates): StepTime {
  let reading = 0
  let arithmetic = 0
  for (const part of ['experts', 'rest', 'attention'] as const) {
    const { bytes, flops } = work[part]
    const { bytesPerSecond, flopsPerSecond, flopsPerSecondOfRow } = rates[part]
    const usable = flopsPerSecondOfRow === null ? Infinity : flopsPerSecondOfRow * work.rows
    const [read, compute] = [bytes / bytesPerSecond, flops / Math.min(flopsPerSecond, usable)]
    if (read >= compute) reading += read
    else arithmetic += compute
  }
  const overhead = work.dispatches * rates.dispatchSeconds
  const most = Math.max(reading, arithmetic, overhead)
  const bound = most === reading ? 'reading' : most === arithmetic ? 'arithmetic' : 'dispatches'
  return { seconds: reading + arithmetic + overhead, bound }
}

/** Of all parts. */
export function totalBytes({ experts, rest, attention }: StepWork): number {
  return experts.bytes + rest.bytes + attention.bytes
}

/**
 * Tokens of a prefill chunk from which reading the experts takes no longer than computing with them:
 * (operations / byte of the device) · (bytes / parameter) / 2 tokens an expert, N / k times as many in all.
 */
export function ridgeTokens(
  config: ModelConfig,
  bytesPerParameter: number,
  rates: Omit<PartRates, 'flopsPerSecondOfRow'>,
): number {
  const tokensPerExpert = ((rates.flopsPerSecond / rates.bytesPerSecond) * bytesPerParameter) / 2
  return (tokensPerExpert * config.routedExpertCount) / config.expertsPerToken
}
