/** `npm start`, whole and real: what a newcomer meets, and what is left when it ends. */
import { copyFileSync, mkdirSync, readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startRedis } from '../fixtures/redis.ts'
import { freePort } from '../../local/ports.ts'
import { AxleProcess } from './axle-process.ts'
import { eventually, isAlive, temporaryFolder } from './temporary.ts'

const stopMaxMs = 10_000
const secondStartMaxMs = 10_000
const model = join(import.meta.dirname, '..', '..', 'models', 'axk1-tiny')

async function start(
  environment: Readonly<Record<string, string>> = {},
  dataDir = temporaryFolder(),
): Promise<AxleProcess> {
  return new AxleProcess(dataDir, { AXLE_PORT: String(await freePort()), ...environment })
}

async function ask({ url, apiKey, model: name }: { url: string; apiKey: string; model: string }): Promise<number> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: name, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 4 }),
  })
  await response.body?.cancel()
  return response.status
}

describe('npm start', () => {
  it('serves, tells a newcomer how to talk to it, and leaves nothing running after SIGTERM', async () => {
    const axle = await start()
    const ready = await axle.ready()
    expect(await ask(ready)).toBe(200)
    await eventually(() => axle.output.includes('Stop with Ctrl-C'))
    for (const part of [
      ready.url,
      ready.apiKey,
      'curl ',
      "from 'openai'",
      'Adapter',
      'Toggles',
      'KV cache',
      ready.metricsUrl,
    ]) {
      expect(axle.output).toContain(part)
    }
    for (const file of ['ready.json', 'secrets.json']) {
      expect(statSync(join(axle.dataDir, file)).mode & 0o777).toBe(0o600)
    }
    const children = axle.children()
    expect(children.map(({ name }) => name).sort()).toEqual(['gateway', 'gpu-worker-0', 'redis', 'workers'])

    const stoppedAt = performance.now()
    expect(await axle.stop()).toBe(0)
    expect(performance.now() - stoppedAt).toBeLessThan(stopMaxMs)
    expect([ready.pid, ...children.map(({ pid }) => pid)].filter(isAlive)).toEqual([])
    expect(readdirSync(axle.dataDir)).not.toContain('ready.json')
  })

  it('starts again within the limit with the same keys', async () => {
    const first = await start()
    const { apiKey } = await first.ready()
    await first.stop()
    const startedAt = performance.now()
    const second = await start({}, first.dataDir)
    const ready = await second.ready()
    expect(performance.now() - startedAt).toBeLessThan(secondStartMaxMs)
    expect(ready.apiKey).toBe(apiKey)
    expect(await ask(ready)).toBe(200)
  })

  it('runs twice side by side, and refuses a data directory or port that is in use', async () => {
    const [one, two] = await Promise.all([start(), start()])
    const [first, second] = await Promise.all([one.ready(), two.ready()])
    expect(await Promise.all([ask(first), ask(second)])).toEqual([200, 200])

    const sameDirectory = await start({}, one.dataDir)
    expect(await sameDirectory.exit()).toBe(1)
    expect(sameDirectory.output).toContain(`already running on ${one.dataDir} (process ${first.pid})`)

    const samePort = await start({ AXLE_PORT: new URL(first.url).port })
    expect(await samePort.exit()).toBe(1)
    expect(samePort.output).toContain(`Port ${new URL(first.url).port}`)
    expect(await ask(first)).toBe(200)
  })

  it.runIf(process.platform === 'linux')(
    'works again after npm, bootstrap and launcher were killed, and ends their orphans',
    async () => {
      const killed = await start({ AXLE_GPU_WORKERS: '2' })
      const before = await killed.ready()
      const orphans = killed.children()
      expect(orphans).toHaveLength(5)
      await killed.killHard()

      const axle = await start({ AXLE_PORT: new URL(before.url).port }, killed.dataDir)
      await eventually(() => axle.output.includes('Stop with Ctrl-C'), 60_000)
      expect(orphans.filter(({ pid }) => isAlive(pid))).toEqual([])
      expect(await ask(await axle.ready())).toBe(200)
    },
  )

  it('uses the Redis that REDIS_URL names and starts none of its own', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const axle = await start({ REDIS_URL: redis.url })
    expect(await ask(await axle.ready())).toBe(200)
    expect(axle.children().map(({ name }) => name)).not.toContain('redis')
    await axle.stop()
  })

  it('case 39: refuses a Redis that would evict accepted jobs, and says what to set', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const administrator = redis.connect()
    await administrator.config('SET', 'maxmemory-policy', 'allkeys-lru')
    const refused = await start({ REDIS_URL: redis.url })
    expect(await refused.exit()).toBe(1)
    expect(refused.output).toContain('maxmemory-policy allkeys-lru')
    expect(refused.output).toContain('Set its maxmemory-policy to noeviction')
    expect(readdirSync(refused.dataDir)).not.toContain('processes.json')
  })

  it.each([
    ['a port that is no number', { AXLE_PORT: 'http' }, "AXLE_PORT must be a whole number from 1 to 65535, got 'http'"],
    ['a folder without a checkpoint', { AXLE_MODEL: import.meta.dirname }, 'has no config.json'],
    ['a Redis that is not there', { REDIS_URL: 'redis://u:secret@127.0.0.1:1' }, 'The Redis at redis://127.0.0.1:1'],
    ['a data directory that cannot be', { AXLE_DATA_DIR: '/dev/null/x' }, 'Cannot create the data directory'],
  ])('ends with one clear message and exit code 1: %s', async (_, environment, message) => {
    const axle = await start(environment)
    expect(await axle.exit()).toBe(1)
    expect(axle.output).toContain(message)
    expect(axle.output.match(/✗/g)).toHaveLength(1)
    expect(axle.output).not.toContain('secret@')
  })

  it('ends with one clear message when the checkpoint is cut short', async () => {
    const broken = join(temporaryFolder(), 'broken')
    mkdirSync(broken)
    const files = readdirSync(model, { withFileTypes: true }).filter((entry) => entry.isFile())
    for (const { name } of files) copyFileSync(join(model, name), join(broken, name))
    truncateSync(join(broken, 'model.safetensors'), 100_000)
    const axle = await start({ AXLE_MODEL: broken })
    expect(await axle.exit()).toBe(1)
    expect(axle.output).toContain('Cannot load model.safetensors')
    expect(axle.children()).toEqual([])
  })
})
