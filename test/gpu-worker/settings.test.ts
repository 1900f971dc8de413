/** A GPU worker's settings mean what they say; a wrong one is named, and nothing is guessed. */
import { describe, expect, it } from 'vitest'
import { parseSettings } from '../../gpu-worker/settings.ts'
import { toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'

const needed = { REDIS_URL: 'redis://localhost:6379', AXLE_MODEL: '/models/tiny', AXLE_WORKER_ID: 'w1' }

describe('parseSettings()', () => {
  it('has a value for everything that is not set, or set to nothing', () => {
    const bare = parseSettings(needed)
    expect(bare).toMatchObject({ profile: 'exact', gpuBytesMax: null, kvBytesMax: null, slots: 32 })
    expect(bare).toMatchObject({ stepMs: 200, drainMs: 20_000 })
    expect(bare).toMatchObject({ toggleProfile: 'default', dawnToggles: toggleProfiles.default })
    const empty = {
      AXLE_PROFILE: '',
      AXLE_GPU_BYTES: ' ',
      AXLE_KV_BYTES: '',
      AXLE_SLOTS: '',
      AXLE_DAWN_TOGGLES: '',
      AXLE_TOGGLES: '',
    }
    expect(parseSettings({ ...needed, ...empty })).toEqual(bare)
  })

  it('takes budgets in bytes and in units, and a profile', () => {
    const set = { AXLE_GPU_BYTES: '70GiB', AXLE_KV_BYTES: '900MB', AXLE_PROFILE: 'kv16' }
    const taken = { gpuBytesMax: 70 * 2 ** 30, kvBytesMax: 900e6, profile: 'kv16' }
    expect(parseSettings({ ...needed, ...set })).toMatchObject(taken)
    expect(parseSettings({ ...needed, AXLE_KV_BYTES: '4096' }).kvBytesMax).toBe(4096)
  })

  it('takes slots for experts as a number and as a share', () => {
    expect(parseSettings(needed).expertSlots).toBeNull()
    expect(parseSettings({ ...needed, AXLE_EXPERT_SLOTS: '96' }).expertSlots).toBe(96)
    expect(parseSettings({ ...needed, AXLE_EXPERT_SLOTS: '50%' }).expertSlots).toBe('50%')
  })

  it('takes the time of a step in ms and that of a drain in seconds, 0 to leave at once', () => {
    const set = { AXLE_STEP_MS: '50', AXLE_DRAIN_SECONDS: '0' }
    expect(parseSettings({ ...needed, ...set })).toMatchObject({ stepMs: 50, drainMs: 0 })
  })

  it('adds toggles to those of a profile, each once', () => {
    const more = { AXLE_TOGGLES: 'fast', AXLE_DAWN_TOGGLES: 'skip_validation, dump_shaders' }
    const { dawnToggles } = parseSettings({ ...needed, ...more })
    expect(dawnToggles).toEqual([...toggleProfiles.fast, 'dump_shaders'])
    expect(parseSettings({ ...needed, AXLE_TOGGLES: 'safe' }).dawnToggles).toEqual([])
  })

  it.each([
    ['AXLE_TOGGLES', 'faster'],
    ['AXLE_GPU_BYTES', '70gb'],
    ['AXLE_GPU_BYTES', '0'],
    ['AXLE_GPU_BYTES', '1e9'],
    ['AXLE_KV_BYTES', '-1'],
    ['AXLE_KV_BYTES', '1.5'],
    ['AXLE_EXPERT_SLOTS', '0'],
    ['AXLE_EXPERT_SLOTS', 'half'],
    ['AXLE_STEP_MS', '0'],
    ['AXLE_DRAIN_SECONDS', '-1'],
    ['AXLE_PROFILE', 'fast'],
    ['AXLE_PROFILE', 'KV16'],
  ])('refuses %s=%s by name', (name, value) => {
    expect(() => parseSettings({ ...needed, [name]: value })).toThrow(name)
  })
})
