/** A child that behaves as its argument says, in the words of the lifecycle contract; for tests of who keeps it alive. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { onLauncherGone, tellLauncher } from '../../../contract/lifecycle.ts'

const stay = (): void => void setInterval(() => undefined, 1e6)

const behaviours: Readonly<Record<string, () => Promise<void>>> = {
  well: async () => {
    process.once('SIGTERM', () => process.exit(0))
    onLauncherGone(() => process.exit(0))
    await tellLauncher({ kind: 'progress', step: 'stretching', detail: '1 of 1' })
    await tellLauncher({ kind: 'ready', facts: { pid: process.pid } })
  },
  'stubborn-with-child': async () => {
    process.on('SIGTERM', () => undefined)
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' })
    await once(child, 'spawn')
    await tellLauncher({ kind: 'ready', facts: { pid: process.pid, childPid: child.pid ?? 0 } })
    stay()
  },
  dies: async () => {
    process.stderr.write('no gearbox found\n')
    process.exitCode = 3
    process.disconnect()
  },
  fatal: async () => {
    await tellLauncher({ kind: 'fatal', message: 'The gearbox is broken', wayOut: 'Buy another.' })
    process.exit(1)
  },
}

await behaviours[process.argv[2] ?? '']?.()
