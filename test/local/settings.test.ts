/** Settings mean what the help says, and a wrong one is named with what it may be. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSettings, repositoryRoot, settingsHelp } from '../../local/settings.ts'

describe('readSettings', () => {
  it('has a value for everything that is not set', () => {
    expect(readSettings({})).toEqual({
      port: 8787,
      dataDir: join(repositoryRoot, '.axle'),
      modelDir: join(repositoryRoot, 'models', 'axk1-tiny'),
      gpuWorkers: 1,
      lanes: 2,
      brokerShards: 1,
      slots: undefined,
      cronSeconds: 60,
      metricsPort: 0,
      redisUrl: undefined,
    })
  })

  it('takes an empty value for an unset one', () => {
    expect(readSettings({ AXLE_PORT: '', REDIS_URL: ' ', AXLE_ENV: '' })).toEqual(readSettings({}))
  })

  it('takes relative folders from where npm was called, not from where it runs scripts', () => {
    const { dataDir, modelDir } = readSettings({ INIT_CWD: '/home/a', AXLE_DATA_DIR: 'data', AXLE_MODEL: '/m' })
    expect(dataDir).toBe('/home/a/data')
    expect(modelDir).toBe('/m')
  })

  it.each(['redis://localhost:6379', 'rediss://user:pass@host/2'])('accepts %s', (url) => {
    expect(readSettings({ REDIS_URL: url }).redisUrl).toBe(url)
  })

  it.each([
    ['AXLE_PORT', '0'],
    ['AXLE_PORT', '65536'],
    ['AXLE_PORT', '80 80'],
    ['AXLE_PORT', '0x50'],
    ['AXLE_GPU_WORKERS', '0'],
    ['AXLE_GPU_WORKERS', '65'],
    ['AXLE_LANES', '-1'],
    ['AXLE_BROKER_SHARDS', '1.5'],
    ['AXLE_SLOTS', 'many'],
    ['AXLE_CRON_SECONDS', '0.5'],
    ['AXLE_METRICS_PORT', '65536'],
    ['AXLE_ENV', 'production'],
  ])('refuses %s=%s, naming both', (name, value) => {
    expect(() => readSettings({ [name]: value })).toThrow(new RegExp(`${name}.*'${value}'`))
  })

  it('never repeats a REDIS_URL, which may hold a password', () => {
    expect(() => readSettings({ REDIS_URL: 'http://u:secret@h' })).toThrow(/^REDIS_URL is not a Redis URL$/)
  })

  it('explains every variable it reads in --help', () => {
    const read: string[] = []
    readSettings(new Proxy({}, { get: (_, name) => void read.push(String(name)) }))
    const shown = read.filter((name) => name !== 'INIT_CWD' && name !== 'AXLE_ENV')
    expect(shown.filter((name) => !settingsHelp.includes(name))).toEqual([])
    expect(shown).toContain('AXLE_PORT')
  })
})
