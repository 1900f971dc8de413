/** A memory account as a person reads it: what goes where, and how long a sequence can get. Knows no budget. */
import { formatBytes } from './byte-size.ts'
import { WEIGHT_KINDS, type WeightKind } from './layout-sizes.ts'
import type { MemoryAccount, ServedLayers } from './memory.ts'

const NAMES: Readonly<Record<WeightKind, string>> = {
  embedding: 'embedding',
  attention: 'attention',
  denseMlp: 'dense MLP',
  router: 'router',
  sharedExperts: 'shared experts',
  routedExperts: 'routed experts',
  norms: 'norms',
  head: 'head',
}

/** The largest: a line has an end. */
const KINDS_NAMED = 3

/** Lines without an end; columns stand under each other. */
export function memoryTable(
  account: MemoryAccount,
  { config, profile }: Pick<ServedLayers, 'config' | 'profile'>,
): string {
  const { weights, weightBytes, cache, activationBytes, readbackBytes, servingBytes, uploadBytes, hostBytes } = account
  const kinds = WEIGHT_KINDS.filter((kind) => weights[kind] > 0)
    .toSorted((a, b) => weights[b] - weights[a])
    .slice(0, KINDS_NAMED)
    .map((kind) => `${NAMES[kind]} ${formatBytes(weights[kind])}`)
  const longest = Math.min(config.contextTokensMax, cache.tokens)
  const bound = cache.tokens === cache.tokensBindable ? ', all that one binding a layer holds' : ''
  const pool = `${count(cache.tokens)} tokens of ${count(cache.bytesPerToken)} B (${profile})${bound}`
  return [
    line('weights', weightBytes, `most of it ${kinds.join(', ')}`),
    line('KV cache', cache.bytes, `${pool}; a sequence up to ${count(longest)}`),
    line('activations', activationBytes + readbackBytes, 'for the largest step'),
    line('in all', servingBytes, `and up to ${formatBytes(uploadBytes)} while loading`),
    ...(hostBytes === 0 ? [] : [line('on the host', hostBytes, 'all routed experts, which take turns in slots')]),
  ].join('\n')
}

function line(name: string, bytes: number, detail: string): string {
  return `${name.padEnd(12)}${formatBytes(bytes).padStart(9)}  ${detail}`
}

function count(value: number): string {
  return value.toLocaleString('en')
}
