/**
 * An account of a checkpoint as text for a terminal. It computes nothing but sums.
 */
import { formatBytes } from '../../gpu-worker/model/byte-size.ts'
import { nameOrQuote } from '../../gpu-worker/model/checkpoint-error.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { WeightKind } from '../../gpu-worker/model/layout-sizes.ts'
import type { Account } from './account.ts'

const KIND_NAMES: Readonly<Record<WeightKind, string>> = {
  embedding: 'embedding',
  attention: 'attention',
  denseMlp: 'dense MLPs',
  router: 'routers',
  sharedExperts: 'shared experts',
  routedExperts: 'routed experts',
  norms: 'norms',
  head: 'head',
}

/** Of tensors ignored for one reason. */
const NAMES_SHOWN = 3

export function reportOf(account: Account): string {
  const sections = [
    [title(account), ...shapeLines(account.config).map((line) => `  ${line}`)],
    storageLines(account),
    tableLines(account),
    ignoredLines(account),
    account.warnings.map((warning) => `Warning: ${warning}.`),
    problemLines(account),
  ]
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')
}

function title({ dir, config }: Account): string {
  const names = { axk1: 'A.X K1 (AXK1ForCausalLM)', 'deepseek-v3': 'DeepSeek-V3 (DeepseekV3ForCausalLM)' }
  return `${dir}: of the shape of ${names[config.architecture]}`
}

function shapeLines(config: ModelConfig): string[] {
  const { layerCount, denseLayerCount, headCount, qLoraRank, routedExpertCount, sharedExpertCount } = config
  const tied = config.tieWordEmbeddings ? ', embeddings tied' : ''
  const query = qLoraRank === null ? 'queries in one piece' : `query rank ${count(qLoraRank)}`
  const expertLayers = layerCount - denseLayerCount
  const norm = config.postMlpNorm ? ', norm after' : ''
  const weights = config.normTopkProb ? 'weights divided by their sum' : 'weights as they are'
  const { qkNopeHeadDim, qkRopeHeadDim, vHeadDim, kvLoraRank } = config
  return [
    `${count(layerCount)} layers of width ${count(config.hiddenSize)}, vocabulary ${count(config.vocabSize)}, ` +
      `context ${count(config.contextTokensMax)}${tied}`,
    `attention: ${headCount} heads of ${qkNopeHeadDim} + ${qkRopeHeadDim} by RoPE, values ${vHeadDim}, ${query}, latent ` +
      `rank ${count(kvLoraRank)}`,
    `RoPE: ${ropeText(config)}`,
    ...(denseLayerCount === 0
      ? []
      : [`${denseLayerCount} dense layer${denseLayerCount === 1 ? '' : 's'} of ${count(config.intermediateSize)}`]),
    ...(expertLayers === 0
      ? []
      : [
          `${expertLayers} expert layer${expertLayers === 1 ? '' : 's'}: ${config.expertsPerToken} of ${routedExpertCount} experts of ` +
            `${count(config.moeIntermediateSize)} a token, in ${config.groupsPerToken} of ${config.groupCount} groups, ` +
            `${sharedExpertCount === 0 ? 'none' : sharedExpertCount} shared; ${weights}, times ${config.routedScalingFactor}${norm}`,
        ]),
  ]
}

function ropeText({ rope }: ModelConfig): string {
  const base = `theta ${count(rope.theta)}, ${rope.interleaved ? 'interleaved' : 'in halves'}`
  if (rope.scaling.kind === 'none') return base
  const { factor, originalContextTokens, mscale, mscaleAllDim, attentionFactor } = rope.scaling
  const scale =
    attentionFactor === null
      ? `mscale ${mscale}, of all dims ${mscaleAllDim}`
      : `factor on cos and sin ${attentionFactor}`
  return `${base}, YaRN ${factor} times ${count(originalContextTokens)}, ${scale}`
}

function storageLines(account: Account): string[] {
  const { fileCount, tensorCount, tensorBytes, parameters, quantizedBy } = account
  const files = fileCount === 1 ? 'one file' : `${count(fileCount)} files`
  const quantized = quantizedBy === null ? 'not quantised' : `quantised by ${quantizedBy}`
  return [
    `${count(parameters.total)} parameters, ${count(parameters.active)} of them active for a token`,
    `${count(tensorCount)} tensors in ${files}, ${formatBytes(tensorBytes)}, ${quantized}; ` +
      `${formatBytes(account.gpuBytes)} on the GPU`,
  ]
}

function tableLines({ shares }: Account): string[] {
  const rows = shares.map((share) => [
    KIND_NAMES[share.kind],
    share.format,
    count(share.weightCount),
    count(share.parameterCount),
    formatBytes(share.storedBytes),
    formatBytes(share.gpuBytes),
  ])
  const all = [['kind', 'stored as', 'weights', 'parameters', 'on disk', 'on the GPU'], ...rows]
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  // Names to the left, numbers to the right.
  return all.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  )
}

function ignoredLines({ ignored }: Account): string[] {
  const byReason = Map.groupBy(ignored, ({ reason }) => reason)
  return [...byReason].map(([reason, tensors]) => {
    const names = tensors.slice(0, NAMES_SHOWN).map(({ tensor }) => nameOrQuote(tensor))
    const more = tensors.length > NAMES_SHOWN ? ', …' : ''
    return `Ignored, ${count(tensors.length)}: ${reason} (${names.join(', ')}${more})`
  })
}

function problemLines({ problems, textProblem }: Account): string[] {
  if (problems.length === 0) {
    const text = textProblem === null ? [] : [`It cannot be served; logits and verify do without: ${textProblem}`]
    return ['It can be loaded.', ...text]
  }
  const list = problems.map((problem) => `  ${problem}`)
  return [
    `It cannot be loaded, for ${problems.length === 1 ? 'one reason' : `${count(problems.length)} reasons`}:`,
    ...list,
  ]
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}
