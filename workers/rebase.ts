/**
 * Lets the jobs that wait follow the zero of priorities when it moves: each gets the priority that its place in virtual
 * time has now, from the head of each lane on, so that nobody is overtaken on the way.
 *
 * It does not know when the zero moves. What it misses (a job that is being added meanwhile, a janitor that dies) is the
 * janitor's sweep to find, by the same comparison.
 */
import { ErrorCode, type Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { parseJobId } from '../contract/ids.ts'
import { keys, laneHeadKey, priorityScore } from '../contract/keys.ts'
import { priorityOf } from '../contract/quota.ts'

/** Jobs that one round trip moves. */
const jobsPerPage = 500

/** @returns how many jobs had another priority. */
export async function followBase(redis: Redis, queues: readonly Queue[], base: number): Promise<number> {
  let movedCount = 0
  for (const [lane, queue] of queues.entries()) {
    const scored = await redis.zrange(laneHeadKey(lane), '0', '-1', 'WITHSCORES')
    for (let from = 0; from < scored.length; from += 2 * jobsPerPage) {
      movedCount += await followPage(redis, queue, scored.slice(from, from + 2 * jobsPerPage), base)
    }
  }
  return movedCount
}

/** @param scored id, score, id, score, … as the lane's sorted set has them. */
async function followPage(redis: Redis, queue: Queue, scored: readonly string[], base: number): Promise<number> {
  const waiting = scored.flatMap((id, position) => {
    const jobId = parseJobId(id)
    if (position % 2 === 1 || jobId === null) return []
    return [{ jobId, priority: Math.floor(Number(scored[position + 1]) / priorityScore) }]
  })
  const pipeline = redis.pipeline()
  for (const { jobId } of waiting) pipeline.hget(keys.job(jobId), 'queueTag')
  const tags = (await pipeline.exec()) ?? []
  const moves = waiting.map(async ({ jobId, priority }, position) => {
    const [error, tag] = tags[position] ?? [null, null]
    if (error !== null) throw error
    const due = typeof tag === 'string' ? priorityOf(Number(tag), base) : priority
    return due !== priority && (await changePriority(queue, jobId, due))
  })
  return (await Promise.all(moves)).filter((isMoved) => isMoved).length
}

/** Of a waiting job its place too; of one that is active the priority that it goes back with. False when it is gone. */
export async function changePriority(queue: Queue, jobId: string, priority: number): Promise<boolean> {
  const job = await queue.getJob(jobId)
  try {
    await job?.changePriority({ priority })
    return job !== undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === ErrorCode.JobNotExist) return false
    throw error
  }
}
