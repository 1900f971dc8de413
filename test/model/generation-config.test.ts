/** generation_config.json: defaults, end tokens, and what is refused. */
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { parseGenerationConfig } from '../../gpu-worker/model/generation-config.ts'

describe('parseGenerationConfig', () => {
  it('without a file, samples plainly', () => {
    expect(parseGenerationConfig()).toEqual({
      defaults: { temperature: 1, topP: 1, topK: 0, minP: 0 },
      eosTokenIds: [],
    })
  })

  it('reads what the file says', () => {
    const json = { do_sample: true, temperature: 0.6, top_p: 0.95, top_k: 20, min_p: 0.05, eos_token_id: [7, 8] }
    expect(parseGenerationConfig(json)).toEqual({
      defaults: { temperature: 0.6, topP: 0.95, topK: 20, minP: 0.05 },
      eosTokenIds: [7, 8],
    })
  })

  it('reads do_sample false as greedy and top_k −1 as all', () => {
    expect(parseGenerationConfig({ do_sample: false, temperature: 0.6, top_k: -1 }).defaults).toMatchObject({
      temperature: 0,
      topK: 0,
    })
  })

  it.each([
    ['temperature', { temperature: -1 }],
    ['top_p', { top_p: 0 }],
    ['top_k', { top_k: 1.5 }],
    ['eos_token_id', { eos_token_id: -1 }],
    ['repetition_penalty: not supported yet', { repetition_penalty: 1.1 }],
    ['"guidance_scale"', { guidance_scale: 2 }],
  ])('refuses by name a wrong %s', (field, json) => {
    expect(() => parseGenerationConfig(json)).toThrow(CheckpointError)
    expect(() => parseGenerationConfig(json)).toThrow(field)
  })
})
