/** Lane ownership and the choice between lanes, as pure tables. */
import { describe, expect, it } from 'vitest'
import { newJobId } from '../../contract/ids.ts'
import { laneSlackMs } from '../../contract/limits.ts'
import { chooseLanes, laneSlackPriority, ownedLanes, type WaitingJob } from '../../gpu-worker/lane-choice.ts'

const job = (lane: number, priority: number, admittedAtMs: number): WaitingJob => ({
  lane,
  priority,
  admittedAtMs,
  jobId: newJobId(admittedAtMs, new Uint8Array(16)),
})
const own = (...lanes: number[]) => new Set(lanes)

describe('ownedLanes()', () => {
  const workerIds = ['a', 'b', 'c', 'd']
  const laneCount = 64

  it('gives every lane exactly one owner', () => {
    const owners = workerIds.map((id) => ownedLanes(id, workerIds, laneCount))
    for (let lane = 0; lane < laneCount; lane++) expect(owners.filter((lanes) => lanes.has(lane))).toHaveLength(1)
  })

  it('moves only the lanes of a worker that died', () => {
    for (const id of ['a', 'b', 'c']) {
      const before = ownedLanes(id, workerIds, laneCount)
      const after = ownedLanes(id, ['a', 'b', 'c'], laneCount)
      expect([...before].filter((lane) => !after.has(lane))).toEqual([])
    }
  })

  it('gives a worker that nobody saw yet what it would own', () => {
    expect(ownedLanes('a', [], 2)).toEqual(new Set([0, 1]))
  })
})

describe('chooseLanes()', () => {
  it('takes nothing where nothing waits, and nothing when asked for nothing', () => {
    expect(chooseLanes([[], []], own(0), 3)).toEqual([])
    expect(chooseLanes([[job(0, 1, 0)]], own(0), 0)).toEqual([])
  })

  it('takes the own head while it is within the slack of the best tag, and the best beyond it', () => {
    const best = job(1, 1, 0)
    expect(chooseLanes([[job(0, 1 + laneSlackPriority, 0)], [best]], own(0), 1)).toEqual([0])
    expect(chooseLanes([[job(0, 2 + laneSlackPriority, 0)], [best]], own(0), 1)).toEqual([1])
  })

  it('takes the own head while the oldest waits no longer than the slack, and the best beyond it', () => {
    const oldest = job(1, 1, 1_000)
    expect(chooseLanes([[job(0, 1, 1_000 + laneSlackMs)], [oldest]], own(0), 1)).toEqual([0])
    expect(chooseLanes([[job(0, 1, 1_001 + laneSlackMs)], [oldest]], own(0), 1)).toEqual([1])
  })

  it('takes any lane’s head when the own lanes are empty: no worker idles while a job waits', () => {
    expect(chooseLanes([[], [job(1, 900, 5)]], own(0), 1)).toEqual([1])
    expect(chooseLanes([[job(0, 900, 5)]], own(), 1)).toEqual([0])
  })

  it('takes the older of two equal tags', () => {
    expect(chooseLanes([[job(0, 3, 20)], [job(1, 3, 10)]], own(), 1)).toEqual([1])
  })

  it('looks behind a head that it took', () => {
    const lanes = [
      [job(0, 1, 1), job(0, 50, 3)],
      [job(1, 10, 2), job(1, 60, 4)],
    ]
    expect(chooseLanes(lanes, own(), 4)).toEqual([0, 1, 0, 1])
    expect(chooseLanes(lanes, own(), 9)).toHaveLength(4)
  })

  it('serves a job whose worker was lost before every other', () => {
    expect(chooseLanes([[job(0, 1, 0)], [job(1, 0, laneSlackMs)]], own(1), 1)).toEqual([1])
    const farBehind = 1 + laneSlackPriority
    expect(chooseLanes([[job(0, farBehind, 0)], [job(1, 0, 0)]], own(0), 1)).toEqual([1])
  })
})
