/** Progress as a person and a log see it; time is an argument. */
import { describe, expect, it } from 'vitest'
import { ProgressLine } from '../../../cli/convert/progress-line.ts'

class Screen {
  readonly isTerminal: boolean
  readonly written: string[] = []
  nowMs = 0

  constructor(isTerminal: boolean) {
    this.isTerminal = isTerminal
  }

  write(text: string): void {
    this.written.push(text)
  }

  now(): number {
    return this.nowMs
  }
}

const GB = 1e9

describe('ProgressLine', () => {
  it('tells bytes, rate and time left, on one line that it writes over', () => {
    const screen = new Screen(true)
    const line = new ProgressLine(screen)
    for (let step = 1; step <= 4; step++) {
      screen.nowMs = step * 1000
      line.update(step * GB, 1038 * GB, 'model-00001', GB)
    }
    line.end()
    expect(screen.written.length).toBe(5)
    expect(screen.written[3]).toBe('\r\u001B[K4.00 of 1038.0 GB, 1000 MB/s, 18 min left, model-00001')
    expect(screen.written[4]).toBe('\r\u001B[K')
  })

  it('is seldom heard of where nobody can write over a line', () => {
    const screen = new Screen(false)
    const line = new ProgressLine(screen)
    for (let second = 1; second <= 60; second++) {
      screen.nowMs = second * 1000
      line.update(second * GB, 60 * GB, 'model', GB)
    }
    line.end()
    expect(screen.written).toEqual([
      '15.0 of 60.0 GB, 1000 MB/s, 45 s left, model\n',
      '30.0 of 60.0 GB, 1000 MB/s, 30 s left, model\n',
      '45.0 of 60.0 GB, 1000 MB/s, 15 s left, model\n',
      '60.0 of 60.0 GB, 1000 MB/s, 0 s left, model\n',
    ])
  })

  it('takes the rate of this run alone', () => {
    const screen = new Screen(true)
    const line = new ProgressLine(screen)
    screen.nowMs = 10_000
    line.update(501 * GB, 1000 * GB, 'model', GB)
    expect(screen.written).toEqual(['\r\u001B[K501.0 of 1000.0 GB, 100 MB/s, 1 h 24 min left, model'])
  })
})
