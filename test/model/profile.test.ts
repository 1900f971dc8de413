/** Profile kv16 keeps the Runner's whole contract, and is a profile of its own: other bits, another fingerprint. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { orderedProfiles, type Profile } from '../../gpu-worker/model/profile.ts'
import { bits } from '../fixtures/numbers.ts'
import { runnerConformance } from '../runner-conformance.ts'

const checkpoint = join(import.meta.dirname, '../goldens/yarn-fused-bf16')
const options: LoadOptions = { checkpoint, sequencesMax: 16, rowsMax: 48 }
runnerConformance('the model in kv16', async () => (await loadRunner({ ...options, profile: 'kv16' })).runner)

it('every profile has a fingerprint of its own', async () => {
  const fingerprints = await Promise.all(
    orderedProfiles.map(async (profile) => (await firstLogits(profile)).fingerprint),
  )
  expect(new Set(fingerprints).size).toBe(orderedProfiles.length)
})

it("a token's own key is read back as the cache holds it: kv16 differs from exact at the first token already", async () => {
  const [exact, kv16] = [await firstLogits('exact'), await firstLogits('kv16')]
  expect(kv16.logits).not.toEqual(exact.logits)
})

it('matrix is refused where the adapter has no matrix units, and says what it needs', async () => {
  const loading = loadRunner({ ...options, profile: 'matrix', processor: 'gpu' })
  await expect(loading).rejects.toThrow(/^Profile matrix needs matrix units .* offers none/)
})

/** Bits of the logits of a sequence of one token. */
async function firstLogits(profile: Profile): Promise<{ fingerprint: string; logits: Uint32Array }> {
  const { runner } = await loadRunner({ ...options, profile })
  const sequences = [{ tokenIds: [7], start: 0, blocks: [3 as BlockId], sampler: null }]
  const { logits = new Float32Array() } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
  await runner.close()
  return { fingerprint: runner.fingerprint, logits: bits(logits) }
}
