/** All readers of a Broker, on a clock of the test: who is told what, when a job is given up, and that no wait is endless. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { newJobId } from '../../contract/ids.ts'
import { disconnectGraceMs, idempotencyTtlMs, jobAgeMaxMs } from '../../contract/limits.ts'
import type { LogSource } from '../../edge/broker/job-reader.ts'
import { outageMaxMs, Readers, sweepMs } from '../../edge/broker/readers.ts'

const startMs = 1_800_000_000_000
const jobId = newJobId(startMs, new Uint8Array(16))
const emptyLog: LogSource = { page: () => Promise.resolve({ entries: [], isGone: false }) }
let abandoned: string[]
let readers: Readers
let downSinceMs: number | null

beforeEach(() => {
  vi.useFakeTimers({ now: startMs })
  abandoned = []
  downSinceMs = null
  readers = new Readers(
    emptyLog,
    (id) => abandoned.push(id),
    () => downSinceMs,
  )
})
afterEach(() => {
  vi.useRealTimers()
})

const token = `${jobId} 1 {"kind":"token"}`
const end = `${jobId} 2 {"kind":"end"}`

async function read(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += new TextDecoder().decode(chunk)
  return text
}

describe('Readers', () => {
  it('gives every reader of a job its entries, and no other job’s', async () => {
    const other = newJobId(startMs, new Uint8Array(16).fill(1))
    const [first, second, stranger] = [
      readers.add(jobId, 0, true),
      readers.add(jobId, 0, true),
      readers.add(other, 0, true),
    ]
    const got = Promise.all([read(first.stream), read(second.stream)])
    readers.hear(token)
    readers.hear(end)
    expect(await got).toEqual(Array.from({ length: 2 }, () => '1 {"kind":"token"}\n2 {"kind":"end"}\n'))
    expect(stranger.hasEnded).toBe(false)
    expect(abandoned).toEqual([])
  })

  it('gives a job up at once when its last reader leaves, not before', () => {
    const [first, second] = [readers.add(jobId, 0, true), readers.add(jobId, 0, true)]
    first.leave()
    expect(abandoned).toEqual([])
    second.leave()
    expect(abandoned).toEqual([jobId])
    expect(readers.isEmpty).toBe(true)
  })

  it('waits out the grace of a job that may be asked for again, to the millisecond', () => {
    readers.add(jobId, disconnectGraceMs, true).leave()
    vi.advanceTimersByTime(disconnectGraceMs - 1)
    expect(abandoned).toEqual([])
    vi.advanceTimersByTime(1)
    expect(abandoned).toEqual([jobId])
  })

  it('keeps a job whose reader came back within the grace', () => {
    readers.add(jobId, disconnectGraceMs, true).leave()
    vi.advanceTimersByTime(disconnectGraceMs - 1)
    readers.add(jobId, disconnectGraceMs, false)
    vi.advanceTimersByTime(disconnectGraceMs)
    expect(abandoned).toEqual([])
  })

  it('gives up nothing that has ended, and nothing that never came to be', async () => {
    const done = readers.add(jobId, 0, true)
    readers.hear(token)
    readers.hear(end)
    await read(done.stream)
    done.leave()
    readers.discard(readers.add(jobId, 0, true))
    expect(abandoned).toEqual([])
    expect(readers.isEmpty).toBe(true)
  })

  it('sits an outage out, up to its bound', async () => {
    const got = read(readers.add(jobId, 0, true).stream)
    downSinceMs = startMs
    const settled = vi.fn<(text: string) => void>()
    void got.then(settled)
    await vi.advanceTimersByTimeAsync(outageMaxMs)
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(sweepMs)
    expect(settled).toHaveBeenCalledWith(expect.stringContaining('queue_unavailable'))
    expect(abandoned).toEqual([jobId])
  })

  it('I11: keeps nobody who has stopped reading beyond the age cap of jobs', async () => {
    const { stream } = readers.add(jobId, 0, true)
    readers.hear(token)
    await vi.advanceTimersByTimeAsync(jobAgeMaxMs)
    expect(readers.isEmpty).toBe(false)
    await vi.advanceTimersByTimeAsync(2 * 60_000)
    expect(readers.isEmpty).toBe(true)
    expect(await read(stream)).toContain('job_expired')
  })

  it('gives who reads an old job again as long as anybody: the wait is counted from when it came', async () => {
    vi.setSystemTime(startMs + idempotencyTtlMs - 60_000)
    const got = read(readers.add(jobId, 0, true).stream)
    await vi.advanceTimersByTimeAsync(2 * sweepMs)
    readers.hear(token)
    readers.hear(end)
    expect(await got).toBe('1 {"kind":"token"}\n2 {"kind":"end"}\n')
  })

  it('I12: ends a wait that outlives the age cap of jobs', async () => {
    const got = read(readers.add(jobId, 0, true).stream)
    const settled = vi.fn<(text: string) => void>()
    void got.then(settled)
    await vi.advanceTimersByTimeAsync(jobAgeMaxMs)
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(2 * 60_000)
    expect(settled).toHaveBeenCalledWith(expect.stringContaining('job_expired'))
  })
})
