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

  it.each<[says: string, json: object, eosTokenIds: readonly number[]]>([
    ['one', { eos_token_id: 163_704 }, [163_704]],
    ['several', { eos_token_id: [163_691, 163_704] }, [163_691, 163_704]],
    ['none', { eos_token_id: null }, []],
    ['an empty list', { eos_token_id: [] }, []],
  ])('takes every end token: %s', (_, json, eosTokenIds) => {
    expect(parseGenerationConfig(json).eosTokenIds).toEqual(eosTokenIds)
  })

  it.each<[says: string, json: object, defaults: object]>([
    ['nothing', {}, { temperature: 1, topP: 1, topK: 0, minP: 0 }],
    ['only a temperature', { temperature: 0.6 }, { temperature: 0.6, topP: 1, topK: 0, minP: 0 }],
    ['temperature 0 alone', { temperature: 0 }, { temperature: 0, topP: 1, topK: 0, minP: 0 }],
    ['do_sample false', { do_sample: false, top_p: 0.9 }, { temperature: 0, topP: 0.9, topK: 0, minP: 0 }],
    ['do_sample null', { do_sample: null, temperature: 0.7 }, { temperature: 0.7, topP: 1, topK: 0, minP: 0 }],
    ['top_k 0', { top_k: 0 }, { temperature: 1, topP: 1, topK: 0, minP: 0 }],
    ['top_k 1 and min_p 1', { top_k: 1, min_p: 1 }, { temperature: 1, topP: 1, topK: 1, minP: 1 }],
    [
      'everything null',
      { stop_strings: null, a_field_of_tomorrow: null },
      { temperature: 1, topP: 1, topK: 0, minP: 0 },
    ],
    ['what changes nothing', { max_new_tokens: 4096, repetition_penalty: 1, suppress_tokens: [] }, { temperature: 1 }],
  ])('gives a silent request what the file says: %s', (_, json, defaults) => {
    expect(parseGenerationConfig(json).defaults).toMatchObject(defaults)
  })

  it.each([
    ['do_sample is true, yet temperature is 0', { do_sample: true, temperature: 0 }],
    ['stop_strings: not supported yet', { stop_strings: ['\n'] }],
    ['suppress_tokens: not supported yet', { suppress_tokens: [1] }],
    ['min_new_tokens: not supported yet: 5', { min_new_tokens: 5 }],
    ['num_beams: not supported yet: 4', { num_beams: 4 }],
    ['"a_field_of_tomorrow"', { a_field_of_tomorrow: 1 }],
    ['temperature', { temperature: -1 }],
    ['top_p', { top_p: 0 }],
    ['top_k', { top_k: 1.5 }],
    ['eos_token_id', { eos_token_id: -1 }],
    ['repetition_penalty: not supported yet', { repetition_penalty: 1.1 }],
    ['guidance_scale: not supported yet: 2', { guidance_scale: 2 }],
  ])('refuses by name a wrong %s', (field, json) => {
    expect(() => parseGenerationConfig(json)).toThrow(CheckpointError)
    expect(() => parseGenerationConfig(json)).toThrow(field)
  })
})
