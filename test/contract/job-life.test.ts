/**
 * Whole lives of jobs: random calls of every script, in any order, from writers of any epoch, on a real Redis, against a
 * model of a few lines. What the model says must be answered; an end must be the end; and every history must hold.
 */
import assert from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import type { LogEntry } from '../../contract/event.ts'
import type { JobId } from '../../contract/ids.ts'
import { isEnd, type JobStatus } from '../../contract/job.ts'
import { keys } from '../../contract/keys.ts'
import { decodeUsageRow } from '../../edge/usage/usage-row.ts'
import { dice, type Dice } from '../fixtures/dice.ts'
import { checkHistory, readHistory } from '../fixtures/history.ts'
import { admitted, anError, ending, scriptBench, token } from '../fixtures/script-bench.ts'

const bench = scriptBench()
const lifeCount = 300
const callCount = 25
const longAgoMs = 0
const neverMs = 3_600_000
const price = { inputMicro: 1_500, cachedInputMicro: 0, outputMicro: 2_500 }

class ModelJob {
  status: JobStatus = 'accepted'
  epoch = 0
  isCancelled = false
  tokenCount = 0
  readonly entries: LogEntry[] = []

  end(status: JobStatus, isByOther: boolean): void {
    this.status = status
    this.epoch += Number(isByOther)
  }
}

/** Makes one random call; returns what was answered and what the model says. */
async function call(jobId: JobId, model: ModelJob, draw: Dice): Promise<[answered: unknown, expected: unknown]> {
  const { scripts } = bench
  const epoch = Math.max(0, model.epoch + (draw.chance(0.7) ? 0 : draw(-1, 1)))
  const isWriter = model.status === 'running' && epoch === model.epoch
  switch (draw(0, 9)) {
    case 0:
      await scripts.queued(jobId)
      if (model.status === 'accepted') model.status = 'queued'
      return [null, null]
    case 1:
    case 2: {
      const { kind } = await scripts.claim(jobId, 'w')
      if (isEnd(model.status)) return [kind, 'terminal']
      model.epoch += 1
      model.status = model.isCancelled ? 'cancelled' : 'running'
      return [kind, model.isCancelled ? 'cancelled' : 'claimed']
    }
    case 3:
      if (!draw.chance(0.3)) return [null, null]
      return [await scripts.finish(jobId, epoch, ending), finish(model, epoch, isWriter)]
    case 4:
      if (!draw.chance(0.2)) return [null, null]
      return [await scripts.cancel(jobId), cancel(model)]
    case 5: {
      const ageMaxMs = draw.chance(0.1) ? longAgoMs : neverMs
      const answered = await scripts.expire(jobId, ageMaxMs, anError)
      if (isEnd(model.status)) return [answered, 'terminal']
      if (ageMaxMs === neverMs) return [answered, 'young']
      model.end('expired', true)
      return [answered, 'expired']
    }
    default: {
      const sequence = Math.max(1, model.entries.length + draw(-1, 2))
      const known = model.entries[sequence - 1]
      const isRepeated = known !== undefined && draw.chance(0.7)
      const entry = isRepeated ? known : token(draw.chance(0.8) ? model.tokenCount : draw(0, 9))
      const { code } = await scripts.append(jobId, epoch, sequence, entry)
      return [code, isWriter ? append(model, sequence, entry) : 'fenced']
    }
  }
}

function finish(model: ModelJob, epoch: number, isWriter: boolean): string {
  if (epoch !== model.epoch) return 'fenced'
  if (isEnd(model.status)) return 'ok'
  if (!isWriter) return 'fenced'
  model.end(ending.status, false)
  return 'ok'
}

function cancel(model: ModelJob): string {
  if (isEnd(model.status)) return 'terminal'
  model.isCancelled = true
  if (model.status === 'running') return 'cancelling'
  model.end('cancelled', true)
  return 'cancelled'
}

function append(model: ModelJob, sequence: number, entry: LogEntry): string {
  const known = model.entries[sequence - 1]
  if (known !== undefined) return JSON.stringify(known) === JSON.stringify(entry) ? 'ok' : 'conflict'
  if (sequence !== model.entries.length + 1) return 'gap'
  if (entry.kind !== 'token' || entry.index !== model.tokenCount) return 'gap'
  model.entries.push(entry)
  model.tokenCount += 1
  return 'ok'
}

/** Nano-USD on the bills of all jobs so far; at most one row a job stands in the stream. */
async function billedNano(): Promise<number> {
  const rows = await bench.redis.xrange(keys.usage, '-', '+')
  return rows
    .map(([id, flat]) => decodeUsageRow(id, flat))
    .reduce((sum, row) => sum + row.inputNano + row.cachedNano + row.outputNano, 0)
}

/** One job from admission to its end. Throws with seed and call where script and model part. */
async function live(seed: number): Promise<JobStatus> {
  const draw = dice(seed)
  const jobId = await admitted(bench, { price })
  const model = new ModelJob()
  let ended: Record<string, string> | null = null
  for (let number = 0; number < callCount; number++) {
    const [answered, expected] = await call(jobId, model, draw)
    const record = await bench.redis.hgetall(keys.job(jobId))
    const claim = `seed ${seed}, call ${number}`
    assert.equal(answered, expected, claim)
    assert.deepEqual([record['status'], record['epoch']], [model.status, `${model.epoch}`], claim)
    if (ended !== null) assert.deepEqual(record, ended, `Terminal is final: ${claim}`)
    if (isEnd(model.status)) ended = record
  }
  if (ended === null) await bench.scripts.expire(jobId, longAgoMs, anError)
  const { tokenIds } = checkHistory(await readHistory(bench.redis, jobId))
  assert.equal(tokenIds.length, model.tokenCount, `seed ${seed}`)
  return model.status
}

describe('a job through any calls in any order', () => {
  it('I1–I6: is answered as the model says, ends once, never changes after its end, and leaves its bill and nothing else', async () => {
    const ends: JobStatus[] = []
    const [seconds] = await bench.redis.time()
    const month = new Date(Number(seconds) * 1000).toISOString().slice(0, 7).replace('-', '')
    expect(await bench.scripts.seedSpend('tenant-1', Number(month), 0)).toBe(true)
    let spentNano = 0
    for (let seed = 0; seed < lifeCount; seed++) {
      ends.push(await live(seed))
      spentNano += await billedNano()
      await bench.redis.del(keys.usage)
      const quota = await bench.redis.hgetall(keys.quota('tenant-1'))
      const held = { openJobs: '0', queuedJobs: '0', queuedTokens: '0', reservedNano: '0' }
      expect(quota, `seed ${seed}`).toMatchObject({ ...held, spentNano: `${spentNano}` })
    }
    expect(spentNano).toBeGreaterThan(0)
    expect(await bench.redis.hget(keys.cell, 'queuedFair')).toBe('0')
    expect(await bench.redis.zcard(keys.open)).toBe(0)
    expect(await bench.redis.hget(keys.laneLoad, '0')).toBe('0')
    // Every way to end was taken, or this proved little.
    for (const status of ['completed', 'cancelled', 'expired'] as const) {
      expect(ends.filter((end) => end === status).length).toBeGreaterThan(20)
    }
  })
})
