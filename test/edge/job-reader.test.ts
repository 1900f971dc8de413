/** One reader of one log under any order of publishing, looking, losing messages and pulling: each entry once, in order. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newJobId } from '../../contract/ids.ts'
import { JobReader, pageEntriesMax, type LogPage, type LogSource } from '../../edge/broker/job-reader.ts'

const jobId = newJobId(0, new Uint8Array(16))
const entryJson = (sequence: number, isEnd: boolean) => `{"kind":"${isEnd ? 'end' : 'token'}","n":${sequence}}`

/** A log that answers when told, with what it held when it was asked: as a connection with a delay does. */
class SlowLog implements LogSource {
  readonly entries: { sequence: number; json: string }[] = []
  #waiting: (() => void)[] = []
  isAway = false

  page(_jobId: string, after: number): Promise<LogPage | null> {
    const page = this.isAway ? null : { entries: this.entries.slice(after, after + pageEntriesMax), isGone: false }
    return new Promise((resolve) => this.#waiting.push(() => resolve(page)))
  }

  answer(): boolean {
    const waiting = this.#waiting.splice(0)
    for (const resolve of waiting) resolve()
    return waiting.length > 0
  }
}

async function collect(reader: JobReader): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of reader.stream) text += decoder.decode(chunk)
  return text
}

/** Lets everything that is ready run. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

type Step = 'publish' | 'publish-unheard' | 'answer' | 'look' | 'away' | 'back' | 'settle'
const steps = fc.array(
  fc.constantFrom<Step>('publish', 'publish', 'publish', 'publish-unheard', 'answer', 'look', 'away', 'back', 'settle'),
  { maxLength: 60 },
)

async function live(isNew: boolean, before: number, plan: readonly Step[]): Promise<{ got: string; wanted: string }> {
  const log = new SlowLog()
  const publish = (isHeard: boolean, isEnd: boolean): void => {
    const sequence = log.entries.length + 1
    log.entries.push({ sequence, json: entryJson(sequence, isEnd) })
    if (isHeard) reader.hear(sequence, entryJson(sequence, isEnd))
  }
  for (let i = 1; i <= before; i++) log.entries.push({ sequence: i, json: entryJson(i, false) })
  const reader = new JobReader(jobId, isNew, log, () => undefined)
  const got = collect(reader)
  for (const step of plan) {
    if (step === 'publish') publish(true, false)
    if (step === 'publish-unheard') publish(false, false)
    if (step === 'answer') log.answer()
    if (step === 'look') reader.look()
    if (step === 'away') log.isAway = true
    if (step === 'back') {
      log.isAway = false
      reader.look()
    }
    if (step === 'settle') await settle()
  }
  if (log.isAway) {
    log.isAway = false
    reader.look()
  }
  await drain(log)
  // Whatever was lost before, hearing of the last entry must suffice.
  publish(true, true)
  await drain(log)
  const wanted = log.entries.map(({ sequence, json }) => `${sequence} ${json}\n`).join('')
  return { got: await got, wanted }
}

async function drain(log: SlowLog): Promise<void> {
  do await settle()
  while (log.answer())
}

describe('JobReader', () => {
  it('I1, I2: passes each entry on once and in order, whatever happens around it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(0, 1, pageEntriesMax, pageEntriesMax + 1), steps, async (before, plan) => {
        const { got, wanted } = await live(before === 0, before, plan)
        expect(got).toBe(wanted)
      }),
      { numRuns: 500 },
    )
  })

  it('passes on at once what is published while an empty page is on its way', async () => {
    const log = new SlowLog()
    const reader = new JobReader(jobId, false, log, () => undefined)
    const chunks = reader.stream.getReader()
    const first = chunks.read()
    await settle()
    log.entries.push({ sequence: 1, json: entryJson(1, false) })
    reader.hear(1, entryJson(1, false))
    await drain(log)
    expect(new TextDecoder().decode((await first).value)).toBe(`1 ${entryJson(1, false)}\n`)
  })

  it('keeps a bounded number of entries for a reader that takes none', async () => {
    const log = new SlowLog()
    const reader = new JobReader(jobId, true, log, () => undefined)
    for (let sequence = 1; sequence <= 10_000; sequence++) {
      log.entries.push({ sequence, json: entryJson(sequence, sequence === 10_000) })
      reader.hear(sequence, entryJson(sequence, sequence === 10_000))
    }
    const got = collect(reader)
    const first = await Promise.race([got, settle().then(() => 'still reading from the log')])
    expect(first).toBe('still reading from the log')
    await drain(log)
    expect((await got).split('\n')).toHaveLength(10_001)
  })

  it('tells why it breaks, after what it had', async () => {
    const reader = new JobReader(jobId, true, new SlowLog(), () => undefined)
    reader.hear(1, entryJson(1, false))
    const got = collect(reader)
    await settle()
    reader.fail({ code: 'job_expired', message: 'M', param: null })
    expect(await got).toBe(`1 ${entryJson(1, false)}\n! {"code":"job_expired","message":"M","param":null}\n`)
  })
})
