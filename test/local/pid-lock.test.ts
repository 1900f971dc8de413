/** The lock has one living holder at most, and a dead one never keeps it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { takeLock, waitForLock } from '../../local/pid-lock.js'
import { ownIdentity } from '../../local/process-identity.js'
import { temporaryFolder } from './temporary.ts'

const holderScript = join(import.meta.dirname, 'stand-ins', 'lock-holder.ts')

describe('takeLock', () => {
  it('says who holds it, and is free again after release', () => {
    const path = join(temporaryFolder(), 'lock')
    const first = takeLock(path)
    expect(first.kind).toBe('taken')
    expect(takeLock(path)).toEqual({ kind: 'held', holder: { ...ownIdentity(), isEnding: false } })
    if (first.kind === 'taken') first.lock.release()
    expect(takeLock(path).kind).toBe('taken')
  })

  it('tells takers once its holder is ending', () => {
    const path = join(temporaryFolder(), 'lock')
    const first = takeLock(path)
    if (first.kind === 'taken') first.lock.announceEnd()
    expect(takeLock(path)).toMatchObject({ kind: 'held', holder: { isEnding: true } })
  })

  it.each([
    ['a process that is gone', JSON.stringify({ pid: 2 ** 30, startTime: 'x', isEnding: false })],
    ['a pid that another process has now', JSON.stringify({ pid: process.pid, startTime: 'x', isEnding: false })],
    ['text that is no lock', '{"pid": 1'],
  ])('takes over from %s', (_, content) => {
    const path = join(temporaryFolder(), 'lock')
    writeFileSync(path, content)
    expect(takeLock(path).kind).toBe('taken')
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject(ownIdentity())
  })

  it('gives the lock to one of many processes that find a stale one together', async () => {
    const path = join(temporaryFolder(), 'lock')
    writeFileSync(path, JSON.stringify({ pid: 2 ** 30, startTime: 'x', isEnding: false }))
    const takers = Array.from({ length: 6 }, () => fork(holderScript, [path]))
    onTestFinished(() => takers.forEach((taker) => taker.kill('SIGKILL')))
    const answers = await Promise.all(takers.map(async (taker) => (await once(taker, 'message'))[0]))
    expect(answers.filter((answer) => answer === 'taken')).toHaveLength(1)
  })
})

describe('waitForLock', () => {
  it('gets the lock when its holder is killed', async () => {
    const path = join(temporaryFolder(), 'lock')
    const holder = fork(holderScript, [path])
    await once(holder, 'message')
    const waitedFor: number[] = []
    const release = await waitForLock(path, {
      deadlineMs: 10_000,
      onWait: (pid) => {
        waitedFor.push(pid)
        holder.kill('SIGKILL')
      },
    })
    expect(waitedFor).toEqual([holder.pid])
    release()
  })

  it('gives up at its deadline, naming the holder', async () => {
    const path = join(temporaryFolder(), 'lock')
    takeLock(path)
    const waiting = waitForLock(path, { deadlineMs: 0, onWait: () => undefined })
    await expect(waiting).rejects.toThrow(`Process ${process.pid} has held`)
  })
})
