/**
 * Secrets and tenants' words stay where they belong: canaries go through the whole product, through success and every
 * failure that can be brought about, and then everything that it wrote, showed or said is searched for them.
 *
 * Searched: every file of the data directory but the two that hold its keys (logs of all processes, D1, Durable Objects),
 * what the launcher printed, command lines, /metrics, headers of all answers, bodies of errors, and Redis: names always,
 * values too, but for the records of jobs under way, where a prompt has to be. Controls: canaries that are planted in each
 * place are found, and those sent were seen to arrive.
 */
import assert from 'node:assert/strict'
import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { bullPrefix, keys, laneName } from '../../contract/keys.ts'
import { errorKinds, type ErrorCode } from '../../contract/errors.ts'
import { parseExposition } from '../fixtures/exposition.ts'
import { startRedis } from '../fixtures/redis.ts'
import { startStack } from '../fixtures/stack.ts'
import { processesOf } from './chaos-cell.ts'
import { type Canary, type Evidence, type Finding, newCanary, search, secretOf } from './hygiene/canaries.ts'
import { commandLinesOf, filesOf, metricsOf, redisContents } from './hygiene/evidence.ts'
import { gatewayAlone } from './hygiene/gateway-alone.ts'
import { type Cell, healed, whileRedisFails, whileTheyDie, whileTheyWait } from './hygiene/outages.ts'
import { Prober } from './hygiene/prober.ts'
import { administrate, askWell, askWrongly, knock, setPrice, type Target } from './hygiene/provocations.ts'

/** What neither form brings about, and why. */
const unprovoked: Partial<Record<ErrorCode, string>> = {
  cancelled: 'nobody but its own client, which is gone then, can end a request yet',
}
/** A client that stalls is waited for half a minute. */
const slowCodes: readonly ErrorCode[] = ['request_timeout']
/** Often enough that rows are seen in D1, seldom enough that they are seen in Redis. */
const cronSeconds = 3

export async function hygiene({ full }: { full: boolean }): Promise<void> {
  const codes = new Set<string>()
  for (const code of await product(full)) codes.add(code)
  for (const code of await gatewayAlone()) codes.add(code)
  const missed = Object.keys(errorKinds).filter((code) => !codes.has(code) && !(code in unprovoked))
  const allowed: readonly string[] = full ? [] : slowCodes
  assert.deepEqual(
    missed.filter((code) => !allowed.includes(code)),
    [],
    'Every error that can be provoked was',
  )
  const never = Object.keys(unprovoked).filter((code) => !codes.has(code))
  console.log(`  ${codes.size} error codes provoked; not: ${[...never, ...missed].join(', ')}`)
}

/** @returns the error codes that were seen. */
async function product(full: boolean): Promise<ReadonlySet<string>> {
  const redis = await startRedis()
  const connection = redis.connect()
  const password = newCanary('Redis password')
  const bootstrapSecret = newCanary('bootstrap secret')
  const grant = async () =>
    void (await connection.call('ACL', 'SETUSER', 'axle', 'on', `>${password.text}`, '~*', '&*', '+@all'))
  await grant()
  const stack = await startStack({
    REDIS_URL: `redis://axle:${password.text}@127.0.0.1:${redis.port}`,
    AXLE_BOOTSTRAP_SECRET: bootstrapSecret.text,
    AXLE_CRON_SECONDS: `${cronSeconds}`,
  })
  try {
    const { apiKey: tenantKey, adminKey, model, dataDir } = stack
    const prober = new Prober(stack.url)
    const own = [password, bootstrapSecret, ...(await keptSecrets(dataDir))]
    const target: Target = { prober, model, tenantKey, adminKey, bootstrapSecret: bootstrapSecret.text, secrets: [] }
    const cell: Cell = { stack, redis, connection, grant, seen: [] }
    const stalled = full ? prober.stall('/v1/chat/completions', tenantKey) : null
    await setPrice(target)
    await askWell(target)
    await healed(cell)
    cell.seen.push(...(await redisContents(connection, () => true)))
    await askWrongly(target)
    await knock(target)
    await administrate(target)
    await whileTheyWait(cell, target)
    await whileRedisFails(cell, target)
    await checkMetrics(stack.metricsUrl)
    if (full) await whileTheyDie(cell, target)
    await stalled
    await healed(cell)
    await untilBilled(target)

    const marker = newCanary('marker')
    await prober.send('/v1/organization/projects', { key: adminKey, body: { name: marker.text } })
    const look = async (): Promise<Evidence[]> => [
      ...cell.seen,
      ...(await filesOf(dataDir)),
      ...(await commandLinesOf((await processesOf(stack)).map(({ pid }) => pid))),
      ...(await redisContents(connection, () => true)),
      await metricsOf(stack.metricsUrl),
    ]
    const everything = [...own, ...prober.canaries, ...target.secrets]
    const neverAnswered = [...own, prober.idempotencyKey, prober.requestId]
    const printed = { place: 'what npm start printed', bytes: Buffer.from(stack.output()) }
    const evidence = await look()
    const findings = [
      ...search([...evidence, ...prober.refusals], everything),
      ...search(prober.answers, neverAnswered),
      // It is there to show this key to whoever started it.
      ...search(
        [printed],
        everything.filter(({ name }) => name !== 'tenantKey'),
      ),
    ]
    assert.deepEqual(findings, [], 'I9: nothing repeats a secret or the words of a tenant')
    await plant(cell, marker, look)
    const bytes = evidence.reduce((sum, { bytes: { length } }) => sum + length, 0)
    const count = prober.refusals.length
    console.log(
      `  ${everything.length} canaries, ${count} answers, ${evidence.length} places of ${Math.round(bytes / 1024)} KiB: 0 hits`,
    )
    assert.equal(await stack.stop(), 0, 'npm start exits 0 after SIGTERM')
    return prober.codes
  } catch (error) {
    console.error(error, stack.output())
    throw error
  } finally {
    await stack.stop()
    await redis.stop()
  }
}

/** Usage rows have reached D1, where they are searched too. */
async function untilBilled({ prober, adminKey: key }: Target): Promise<void> {
  const deadlineMs = performance.now() + 10 * cronSeconds * 1_000
  const path = `/v1/organization/usage/jobs?start_time=${Math.floor(Date.now() / 1_000) - 3_600}`
  while (!(await prober.send(path, { key })).text.includes('"job_id"')) {
    assert(performance.now() < deadlineMs, 'Usage is drained into D1')
    await delay(cronSeconds * 100)
  }
}

/** That nothing was found in /metrics says something only if everything was counted there. */
async function checkMetrics(url: string): Promise<void> {
  const families = parseExposition((await metricsOf(url)).bytes.toString())
  const counted = [
    'gateway_requests_total{route="/v1/chat/completions",status="200"}',
    'gateway_requests_total{route="none",status="404"}',
    'gateway_refusals_total{code="invalid_api_key"}',
    'gateway_request_duration_seconds_count{route="/v1/organization/projects"}',
    'gateway_ttft_seconds_count',
    'gateway_tokens_total{kind="reasoning"}',
    'queue_wait_seconds_count',
    'queue_jobs_ended_total{status="completed"}',
    'queue_jobs_ended_total{status="expired"}',
    'queue_workers_ready',
    'vllm:generation_tokens_total{',
    'vllm:time_to_first_token_seconds_count{',
    'vllm:request_success_total{',
  ]
  const samples = [...families.values()].flatMap((family) => Array.from(family.samples))
  const silent = counted.filter((name) => !samples.some(([series, value]) => series.startsWith(name) && value > 0))
  assert.deepEqual(silent, [], 'Every part of the product is counted in /metrics')
}

/** What the data directory keeps in its private file; of keys the part that authenticates. */
async function keptSecrets(dataDir: string): Promise<Canary[]> {
  const kept: unknown = JSON.parse(await readFile(join(dataDir, 'secrets.json'), 'utf8'))
  return Object.entries(Object(kept)).map(([name, text]) =>
    name.endsWith('Key') && name !== 'sealingKey' ? secretOf(name, String(text)) : { name, text: String(text) },
  )
}

/** The control: what should be found is, in D1's files, where a project's name belongs, and wherever it is planted. */
async function plant({ stack, connection }: Cell, marker: Canary, look: () => Promise<Evidence[]>): Promise<void> {
  await appendFile(join(stack.dataDir, 'logs', 'workers.log'), `{"prompt":"${marker.text}"}\n`)
  const lane = `${bullPrefix}:${laneName(0)}`
  await connection.set(`${lane}:${marker.text}`, '')
  await connection.hset(`${lane}:planted`, 'data', Buffer.from(marker.text).toString('base64'))
  await connection.xadd(keys.unreadableUsage, '*', 'jobId', marker.text)
  const places = search(await look(), [marker]).map(({ place }: Finding) => place)
  const expected = [/^edge\/state\//, /^logs\/workers\.log$/, /^name of a key in Redis/, /:bull$/, /:unreadable$/]
  const unseen = expected.filter((pattern) => !places.some((place) => pattern.test(place)))
  assert.deepEqual(unseen, [], `A planted canary is found: ${places.join(', ')}`)
}
