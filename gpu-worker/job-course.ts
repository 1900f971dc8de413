/**
 * One fetched job from claim to outcome: claim, read its log, plan, run; or end it where it cannot run.
 *
 * It does not know BullMQ, windows or who else is held. Whatever is wrong with a job ends that job alone.
 */
import type { Redis } from 'ioredis'
import { ZodError } from 'zod'
import { AppError } from '../contract/errors.ts'
import type { JobId } from '../contract/ids.ts'
import type { JobRecord } from '../contract/job.ts'
import { keys } from '../contract/keys.ts'
import { LogMismatch } from './answer-stream.ts'
import { withoutContent } from './error-content.ts'
import { JobFigures } from './job-figures.ts'
import { planJob } from './job-plan.ts'
import { errorFactsOf, type JobOutcome, JobRun, type JobRunContext } from './job-run.ts'
import type { FetchedJob } from './lane-queues.ts'
import type { ModelText } from './model/model-text.ts'
import { untilAnswered } from './redis-link.ts'
import { readTokenLog, type WrittenLog } from './token-log.ts'

export interface JobCourseContext extends JobRunContext {
  readonly redis: Redis
  readonly text: ModelText
  readonly workerId: string
  /** False only in the negative control of a test: jobs taken over start from nothing. */
  readonly isResuming: boolean
}

export interface JobCourseOrders {
  /** It is suspected of killing its workers: nothing runs beside it. */
  readonly isIsolated: boolean
  /** Asked once the job is planned: whether it may still run. */
  readonly mayRun: () => boolean
  /** Told once it runs. */
  readonly onRun: (run: JobRun) => void
}

const emptyLog: WrittenLog = { tokenEntries: [], tokenIds: [], promptTokens: 0 }

const givenUp = new AppError(
  'worker_failed',
  'The request was lost with several workers in a row and will not be tried again. Please retry it.',
)

const unreadableKeys = new AppError('worker_failed', 'The request was lost. Send it again.')

/** @throws RedisGone, and what no script of ours answers: then nothing is known of the job. */
export async function seeThrough(
  context: JobCourseContext,
  fetched: FetchedJob,
  orders: JobCourseOrders,
): Promise<JobOutcome> {
  const { jobId } = fetched
  try {
    return await claimAndRun(context, fetched, orders)
  } catch (error) {
    if (!isOfKeys(error)) throw error
    // Another worker would fare no better, and each would run it alone.
    const { scripts, redisDeadlineMs, log } = context
    const end = () => scripts.expire(jobId, 0, unreadableKeys.facts)
    log.error({ jobId, end: await untilAnswered(end, redisDeadlineMs) }, 'a job is given up: its keys cannot be read')
    return { kind: 'fenced' }
  }
}

async function claimAndRun(
  context: JobCourseContext,
  fetched: FetchedJob,
  orders: JobCourseOrders,
): Promise<JobOutcome> {
  const { scripts, workerId, redisDeadlineMs, log } = context
  const { jobId, stalledCount } = fetched
  let claim
  try {
    claim = await untilAnswered(() => scripts.claim(jobId, workerId), redisDeadlineMs)
  } catch (error) {
    if (!isUnreadable(error)) throw error
    log.error({ jobId }, 'the record of a job cannot be read')
    const epoch = await untilAnswered(() => context.redis.hget(keys.job(jobId), 'epoch'), redisDeadlineMs)
    return fail(context, jobId, Number(epoch), 0, null)
  }
  if (claim.kind !== 'claimed') return { kind: 'fenced' }
  const { record } = claim
  const figures = new JobFigures(context.figures, context.clockMs, record)
  let written = emptyLog
  try {
    written = await writtenLog(context, record)
    if (!fetched.isGivenUp) return await run(context, fetched, { record, written, figures }, orders)
  } catch (error) {
    if (!(error instanceof CannotBegin)) throw error
    if (!(error.cause instanceof AppError)) log.error({ jobId, err: withoutContent(error.cause) }, 'a job cannot begin')
    return fail(context, jobId, record.epoch, written.promptTokens, error.cause)
  }
  log.error({ jobId, stalledCount }, 'a job was lost with too many workers')
  return fail(context, jobId, record.epoch, written.promptTokens, givenUp)
}

/** The job, and not this worker, is at fault; `cause` says how. */
class CannotBegin extends Error {
  override readonly name = 'CannotBegin'
}

interface ClaimedJob {
  readonly record: JobRecord
  readonly written: WrittenLog
  readonly figures: JobFigures
}

async function run(
  context: JobCourseContext,
  { jobId, stalledCount }: FetchedJob,
  { record, written, figures }: ClaimedJob,
  { isIsolated, mayRun, onRun }: JobCourseOrders,
): Promise<JobOutcome> {
  const { log } = context
  const { plan, job } = atTheJobsRisk(() => {
    const made = planJob(record, context.isResuming ? written : emptyLog, context.text, context.loop.tokensMax)
    return { plan: made, job: new JobRun(context, record, made, figures) }
  })
  if (!mayRun()) return { kind: 'abandoned' }
  const facts = { jobId, epoch: record.epoch, promptTokens: plan.promptTokenIds.length }
  log.info({ ...facts, resumedTokens: plan.resumedTokenIds.length, stalledCount }, 'job begins')
  atTheJobsRisk(() => job.begin(isIsolated))
  onRun(job)
  const outcome = await job.outcome
  log.info({ jobId, epoch: record.epoch, tokens: plan.answer.tokenCount, outcome }, 'job leaves')
  return outcome
}

async function writtenLog({ redis, redisDeadlineMs }: JobCourseContext, record: JobRecord): Promise<WrittenLog> {
  if (record.entryCount === 0) return emptyLog
  try {
    return await untilAnswered(() => readTokenLog(redis, record.id, record.entryCount), redisDeadlineMs)
  } catch (error) {
    if (error instanceof LogMismatch || isUnreadable(error)) throw new CannotBegin('unreadable', { cause: error })
    throw error
  }
}

/** Not JSON, or not of our shape: reading it again would not help. */
function isUnreadable(error: unknown): boolean {
  return error instanceof ZodError || error instanceof SyntaxError
}

/** A key of the job holds what no script can work with: another type, or text for a number. */
function isOfKeys(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError' && /^(WRONGTYPE|ERR)\b/.test(error.message)
}

function atTheJobsRisk<T>(step: () => T): T {
  try {
    return step()
  } catch (error) {
    throw new CannotBegin('unplannable', { cause: error })
  }
}

async function fail(
  { scripts, redisDeadlineMs, figures }: JobCourseContext,
  jobId: JobId,
  epoch: number,
  promptTokens: number,
  error: unknown,
): Promise<JobOutcome> {
  const facts = errorFactsOf(error)
  const ending = { status: 'failed', finishReasons: [], error: facts, promptTokens, cachedTokens: 0 } as const
  const reply = await untilAnswered(() => scripts.finish(jobId, epoch, ending), redisDeadlineMs)
  if (reply !== 'ok') return { kind: 'fenced' }
  figures.count('request_success:error')
  return { kind: 'ended', status: 'failed' }
}
