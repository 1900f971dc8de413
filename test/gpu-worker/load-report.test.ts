/** What a person reads while weights are loaded: few lines, however many chunks, and never long silence. */
import { describe, expect, it } from 'vitest'
import { LoadReport, progressLine } from '../../gpu-worker/load-report.ts'

const GiB = 2 ** 30

/** Lines told while `bytesTotal` come in chunks of 1 MiB at a steady rate, with the time of each. */
function linesOf(bytesTotal: number, bytesPerSecond: number): string[] {
  const lines: string[] = []
  const report = new LoadReport((line) => lines.push(line))
  for (let bytesDone = 2 ** 20; bytesDone <= bytesTotal; bytesDone += 2 ** 20) {
    const elapsedMs = (bytesDone / bytesPerSecond) * 1000
    const remainingMs = ((bytesTotal - bytesDone) / bytesPerSecond) * 1000
    report.tell({ bytesDone, bytesTotal, elapsedMs, bytesPerSecond, remainingMs })
  }
  return lines
}

describe('LoadReport', () => {
  it('says ten lines of a load of some seconds', () => {
    const lines = linesOf(30 * GiB, 2 * GiB)
    expect(lines).toHaveLength(10)
    expect(lines[0]).toBe('10 %, 3.00 GiB of 30.0 GiB, 2.00 GiB/s, 14 s left')
    expect(lines.at(-1)).toBe('100 %, 30.0 GiB of 30.0 GiB, 2.00 GiB/s, 0 s left')
  })

  it('says nothing of a load that is over at once', () => {
    expect(linesOf(GiB, 2 * GiB)).toEqual([])
  })

  it('says a line every ten seconds of a slow one', () => {
    // Five minutes: thirty times ten seconds, and a tenth may fall between two.
    const lines = linesOf(300 * GiB, GiB)
    expect(lines.length).toBeGreaterThanOrEqual(29)
    expect(lines.length).toBeLessThanOrEqual(39)
  })
})

it.each([
  [0, Infinity, '0 %, 0 B of 4.00 GiB, 0 B/s'],
  [GiB, 99_000, '25 %, 1.00 GiB of 4.00 GiB, 1.00 GiB/s, 99 s left'],
  [GiB, 99_001, '25 %, 1.00 GiB of 4.00 GiB, 1.00 GiB/s, 2 min left'],
  [GiB, 6_000_000, '25 %, 1.00 GiB of 4.00 GiB, 1.00 GiB/s, 1 h 40 min left'],
])('%i bytes with %i ms to go: %s', (bytesDone, remainingMs, line) => {
  const bytesPerSecond = bytesDone
  expect(progressLine({ bytesDone, bytesTotal: 4 * GiB, elapsedMs: 1000, bytesPerSecond, remainingMs })).toBe(line)
})
