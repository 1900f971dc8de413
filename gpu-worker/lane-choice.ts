/**
 * Which lanes a worker owns, and from which it takes its next jobs: affinity within a slack, else fairness and age.
 *
 * Pure: it is told who lives and what waits, and knows neither Redis nor BullMQ.
 */
import { createHash } from 'node:crypto'
import type { JobId } from '../contract/ids.ts'
import { laneSlackMs, tokensPerPriority } from '../contract/limits.ts'

/** A waiting job as its lane shows it. */
export interface WaitingJob {
  readonly lane: number
  readonly jobId: JobId
  /** BullMQ's; 0 for a job whose worker was lost, which its lane serves before all others. */
  readonly priority: number
  readonly admittedAtMs: number
}

/** Service by which an own lane's head may be behind the best: less than one ordinary request costs. */
const slackTokens = 512
export const laneSlackPriority = slackTokens / tokensPerPriority

/**
 * Rendezvous hashing (Thaler, Ravishankar 1996): every lane belongs to the live worker that draws the highest number
 * for it, so that a worker's death moves its lanes only, and everyone agrees without talking.
 */
export function ownedLanes(workerId: string, liveWorkerIds: readonly string[], laneCount: number): ReadonlySet<number> {
  const workerIds = new Set([...liveWorkerIds, workerId])
  const lanes = Array.from({ length: laneCount }, (_, lane) => lane)
  return new Set(lanes.filter((lane) => rendezvousOwner(lane, workerIds) === workerId))
}

/**
 * Picks at most `count` jobs, one after the other, and returns the lane of each.
 *
 * @param lanes for every lane its waiting jobs, in the order in which BullMQ would serve them.
 */
export function chooseLanes(
  lanes: readonly (readonly WaitingJob[])[],
  owned: ReadonlySet<number>,
  count: number,
): number[] {
  const queues = lanes.map((waiting) => [...waiting])
  const chosen: number[] = []
  while (chosen.length < count) {
    const next = chooseHead(
      queues.flatMap(([head]) => (head === undefined ? [] : [head])),
      owned,
    )
    if (next === null) break
    chosen.push(next.lane)
    queues.find(([head]) => head === next)?.shift()
  }
  return chosen
}

function chooseHead(heads: readonly WaitingJob[], owned: ReadonlySet<number>): WaitingJob | null {
  const best = first(heads)
  if (best === null) return null
  const oldestAtMs = Math.min(...heads.map((head) => head.admittedAtMs))
  const isClose = (head: WaitingJob) =>
    head.priority <= best.priority + laneSlackPriority && head.admittedAtMs <= oldestAtMs + laneSlackMs
  return first(heads.filter((head) => owned.has(head.lane) && isClose(head))) ?? best
}

/** The job that fairness serves first: lowest tag, then oldest. */
function first(jobs: readonly WaitingJob[]): WaitingJob | null {
  let best: WaitingJob | null = null
  for (const job of jobs) {
    const isBetter =
      best === null ||
      job.priority < best.priority ||
      (job.priority === best.priority && job.admittedAtMs < best.admittedAtMs)
    if (isBetter) best = job
  }
  return best
}

function rendezvousOwner(lane: number, workerIds: Iterable<string>): string | null {
  let owner: string | null = null
  let highest = ''
  for (const workerId of workerIds) {
    const draw = createHash('sha256').update(`${lane}:${workerId}`).digest('hex')
    if (draw > highest) [owner, highest] = [workerId, draw]
  }
  return owner
}
