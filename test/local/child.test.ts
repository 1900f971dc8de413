/** A child is kept alive until it is stopped, and then nothing of it is left. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Child, type ChildPlan } from '../../local/child.ts'
import { Failure } from '../../local/failure.ts'
import { ProcessRecords } from '../../local/process-records.ts'
import { workerRestartMs } from '../../contract/limits.ts'
import { eventually, isAlive, temporaryFolder } from './temporary.ts'

const script = join(import.meta.dirname, 'stand-ins', 'child.ts')

function startChild(behaviour: string, plan: Partial<ChildPlan> = {}) {
  const folder = temporaryFolder()
  const reports: string[] = []
  const details: string[] = []
  const recordsPath = join(folder, 'processes.json')
  const child = new Child(
    {
      name: 'stand-in',
      command: process.execPath,
      args: [script, behaviour],
      environment: process.env,
      readiness: { kind: 'told' },
      ...plan,
    },
    { logDir: folder, records: new ProcessRecords(recordsPath), report: (line) => reports.push(line) },
    (detail) => details.push(detail),
  )
  onTestFinished(() => child.stop(200))
  const recordedPid = (): number | undefined => JSON.parse(readFileSync(recordsPath, 'utf8'))[0]?.pid
  return { child, reports, details, recordedPid }
}

describe('Child', () => {
  it('passes on progress and the facts of readiness', async () => {
    const { child, details, recordedPid } = startChild('well')
    await expect(child.ready).resolves.toEqual({ pid: recordedPid() })
    expect(details).toEqual(['stretching 1 of 1'])
  })

  it('is started again within the limit when it is killed, as often as it takes', async () => {
    const { child, reports, recordedPid } = startChild('well')
    await child.ready
    for (const kills of [1, 2]) {
      const pid = recordedPid()
      if (pid === undefined) throw new Error('the running child is recorded')
      const killedAt = performance.now()
      process.kill(pid, 'SIGKILL')
      await eventually(() => reports.filter((line) => line.includes('is back')).length === kills)
      expect(performance.now() - killedAt).toBeLessThan(workerRestartMs)
      expect(recordedPid()).not.toBe(pid)
    }
  })

  it('fails with its last words when it dies again and again before it was ever ready', async () => {
    const { child } = startChild('dies')
    const failure = await child.ready.catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(Failure)
    expect(failure).toMatchObject({
      message: 'stand-in died 3 times before it was ready (exit code 3)',
      wayOut: expect.stringContaining('no gearbox found'),
    })
  })

  it('fails with the reason and the way out that the child itself gives', async () => {
    const { child } = startChild('fatal')
    await expect(child.ready).rejects.toMatchObject({ message: 'The gearbox is broken', wayOut: 'Buy another.' })
  })

  it('fails when its command cannot be run', async () => {
    const { child } = startChild('well', { command: '/nowhere/engine' })
    await expect(child.ready).rejects.toThrow('Cannot run /nowhere/engine')
  })

  it('is gone after a stop, without being started again', async () => {
    const { child, recordedPid, reports } = startChild('well')
    const { pid } = await child.ready
    await child.stop(5_000)
    expect(isAlive(Number(pid))).toBe(false)
    expect(recordedPid()).toBeUndefined()
    expect(reports).toEqual([])
  })

  it('is killed after the grace when it ignores SIGTERM, and what it started with it', async () => {
    const { child } = startChild('stubborn-with-child')
    const { pid, childPid } = await child.ready
    const stoppedAt = performance.now()
    await child.stop(200)
    expect(performance.now() - stoppedAt).toBeLessThan(2_000)
    expect(isAlive(Number(pid))).toBe(false)
    await eventually(() => !isAlive(Number(childPid)))
  })

  it('is ready once asking it succeeds, when it cannot tell by itself', async () => {
    let asked = 0
    const ask = async (): Promise<void> => void asked++
    const { child } = startChild('well', { readiness: { kind: 'asked', ask } })
    await child.ready
    expect(asked).toBe(1)
  })
})
