/** Loading in the order that tells bad news first. */
import { expect, it } from 'vitest'
import { checkpointShape } from '../../gpu-worker/model/checkpoint-shape.ts'
import { openCheckpoint } from '../../gpu-worker/model/checkpoint.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'

it('a model that this adapter cannot run is refused before a row of its weights is asked for', async () => {
  const golden = await openCheckpoint('test/goldens/yarn-fused-bf16')
  try {
    // More than the router's workgroup memory takes: no config.json may say so.
    const config = { ...golden.config, layerCount: 2, routedExpertCount: 8192, moeIntermediateSize: 8 }
    const shape = checkpointShape(config, { experts: 'bf16', rest: 'bf16', group: 32, layout: 'fused' })
    let rowsAsked = 0
    const rowSource = () => ({
      rows: async () => void (rowsAsked += 1),
      vector: async () => new Float32Array(config.routedExpertCount),
      close: async () => {},
    })
    const checkpoint = { ...golden, ...shape, config }
    const load = loadRunner({ checkpoint, rowSource, sequencesMax: 1, rowsMax: 4, blockCount: 1 })
    await expect(load).rejects.toThrow(/Cannot build the shader route(-grouped)? on this adapter/)
    expect(rowsAsked).toBe(0)
  } finally {
    await golden.close()
  }
})
