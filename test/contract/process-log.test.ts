/** What a process's log makes of errors: they carry more than anyone may read. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { openLog } from '../../contract/process-log.ts'
import { startRedis } from '../fixtures/redis.ts'

const canary = 'canary-5d1e'

/** The line that an error makes, parsed. */
function logged(error: unknown): { line: string; err: { message?: string; stack: string[]; cause?: unknown } } {
  const lines: string[] = []
  openLog('test', { write: (line: string) => void lines.push(line) }).warn({ err: error }, 'it failed')
  const [line = ''] = lines
  return { line, err: JSON.parse(line).err }
}

/** What `parse` throws. */
function thrown(parse: () => unknown): unknown {
  try {
    return parse()
  } catch (error) {
    return error
  }
}

describe('openLog()', () => {
  it("leaves out a Redis error's command, whose arguments are secrets and prompts", async () => {
    const server = await startRedis()
    const error: unknown = await server
      .connect()
      .call('AUTH', 'axle', canary)
      .catch((refusal: unknown) => refusal)
    await server.stop()
    // The reason why this file stands here.
    expect(JSON.stringify(error)).toContain(canary)
    const { line, err } = logged(error)
    expect(err.message).toContain('WRONGPASS')
    expect(line).not.toContain(canary)
  })

  it("leaves out a parser's message, which quotes its input", () => {
    for (const parse of [() => JSON.parse(canary), () => z.literal('a').parse(canary)])
      expect(logged(thrown(parse)).line).not.toContain(canary)
    expect(logged(new Error('outer', { cause: thrown(() => JSON.parse(canary)) })).line).not.toContain(canary)
  })

  it('tells what an error is, where it was thrown and what caused it', () => {
    const { err } = logged(new TypeError('expected a, got b', { cause: new Error('no c') }))
    expect(err).toMatchObject({ name: 'TypeError', message: 'expected a, got b', cause: { message: 'no c' } })
    expect(err.stack[0]).toContain('process-log.test.ts')
  })
})
