/** Toggle profiles choose what Dawn guards, never a bit: goldens and a sampled answer are the same under all three. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { toggleProfileNames, toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'

const goldens = ['odd-shapes-f16', 'int4-zero-points']

it.each(goldens)(
  '%s has the same logit bits and samples under all three, and fingerprints of their own',
  // Three devices, each with shaders to compile.
  { timeout: 240_000 },
  async (name) => {
    const checkpoint = join(import.meta.dirname, '../goldens', name)
    const prompts = [40, 1, 7, 33].map((count, k) => Array.from({ length: count }, (_, i) => (i * 37 + k * 11) % 380))
    const results = []
    const fingerprints = new Set<string>()
    for (const profile of toggleProfileNames) {
      const { runner } = await loadRunner({
        checkpoint,
        rowsMax: 160,
        sequencesMax: 4,
        toggles: toggleProfiles[profile],
      })
      fingerprints.add(runner.fingerprint)
      const sampling = { temperature: 1, topK: 0, topP: 0.95, minP: 0, seed: [3, 4], index: 0 } as const
      const sequences = prompts.map((tokenIds, i) => {
        return { tokenIds, start: 0, blocks: [2 * i, 2 * i + 1].map((block) => block as BlockId), sampler: sampling }
      })
      const { sampled, logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
      results.push({ sampled, bits: new Uint32Array((logits ?? new Float32Array()).buffer) })
      await runner.close()
    }
    expect(fingerprints.size).toBe(3)
    expect(results[0]?.bits.length).toBeGreaterThan(0)
    expect(results[1]).toEqual(results[0])
    expect(results[2]).toEqual(results[0])
  },
)
