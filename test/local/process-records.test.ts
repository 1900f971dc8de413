/** What a killed start left behind is ended, and nothing else is. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { endOrphans, ProcessRecords } from '../../local/process-records.ts'
import { identityOf } from '../../local/process-identity.js'
import { eventually, isAlive, temporaryFolder } from './temporary.ts'

const sleeper = 'setInterval(() => {}, 1e6)'
const graceMs = 300

function startGroup(code: string, dataDir: string): ChildProcess & { pid: number } {
  const child = spawn(process.execPath, ['-e', code], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, AXLE_DATA_DIR: dataDir },
  })
  const { pid } = child
  if (pid === undefined) throw new Error('spawn failed')
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(-pid, 'SIGKILL')
  })
  return Object.assign(child, { pid })
}

describe('endOrphans', () => {
  it('ends a recorded process that still runs and forgets the record', async () => {
    const dataDir = temporaryFolder()
    const path = join(dataDir, 'processes.json')
    const child = startGroup(sleeper, dataDir)
    new ProcessRecords(path).add('sleeper', child.pid)
    const exited = once(child, 'exit')
    await expect(endOrphans(path, { dataDir, graceMs })).resolves.toEqual(['sleeper'])
    await exited
    expect(existsSync(path)).toBe(false)
  })

  it('kills a process that ignores SIGTERM once the grace is over', async () => {
    const dataDir = temporaryFolder()
    const path = join(dataDir, 'processes.json')
    const child = startGroup(`process.on('SIGTERM', () => {}); console.log('up'); ${sleeper}`, dataDir)
    await once(child.stdout ?? child, 'data')
    new ProcessRecords(path).add('stubborn', child.pid)
    const exited = once(child, 'exit')
    await endOrphans(path, { dataDir, graceMs })
    expect(await exited).toEqual([null, 'SIGKILL'])
  })

  it('never touches a process whose pid was recorded with another start time', async () => {
    const dataDir = temporaryFolder()
    const path = join(dataDir, 'processes.json')
    const child = startGroup(sleeper, dataDir)
    const identity = identityOf(child.pid)
    writeFileSync(path, JSON.stringify([{ name: 'gone', pid: child.pid, startTime: `${identity?.startTime}0` }]))
    await expect(endOrphans(path, { dataDir, graceMs })).resolves.toEqual([])
    expect(isAlive(child.pid)).toBe(true)
  })

  it.runIf(process.platform === 'linux')(
    'ends what a dead recorded process had started, of this data directory only',
    async () => {
      const ours = temporaryFolder()
      const path = join(ours, 'processes.json')
      const grandchild = `const { spawn } = require('node:child_process')
      const child = spawn(process.execPath, ['-e', ${JSON.stringify(sleeper)}], { stdio: 'ignore' })
      console.log(child.pid); ${sleeper}`
      const pids: number[] = []
      const records = new ProcessRecords(path)
      for (const dataDir of [ours, temporaryFolder()]) {
        const leader = startGroup(grandchild, dataDir)
        const [line]: Buffer[] = await once(leader.stdout ?? leader, 'data')
        const pid = Number(line)
        pids.push(pid)
        onTestFinished(() => {
          if (isAlive(pid)) process.kill(pid, 'SIGKILL')
        })
        records.add('leader', leader.pid)
        const exited = once(leader, 'exit')
        process.kill(leader.pid, 'SIGKILL')
        await exited
      }
      await endOrphans(path, { dataDir: ours, graceMs })
      await eventually(() => !isAlive(pids[0] ?? 0))
      expect(isAlive(pids[1] ?? 0)).toBe(true)
    },
  )

  it('takes a broken record file for an empty one', async () => {
    const dataDir = temporaryFolder()
    const path = join(dataDir, 'processes.json')
    writeFileSync(path, '[{"name": "x", "pid": ')
    await expect(endOrphans(path, { dataDir, graceMs })).resolves.toEqual([])
  })
})

describe('ProcessRecords', () => {
  it('holds exactly the processes that were added and not removed', () => {
    const path = join(temporaryFolder(), 'processes.json')
    const records = new ProcessRecords(path)
    records.add('self', process.pid)
    records.add('parent', process.ppid)
    records.remove(process.pid)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual([{ name: 'parent', ...identityOf(process.ppid) }])
  })
})
