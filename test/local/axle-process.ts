/** `npm start` as a person runs it, in a data directory of the test; stopped with it. It knows only what a person sees. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import { eventually, isAlive } from './temporary.ts'

const root = join(import.meta.dirname, '..', '..')
const readyDeadlineMs = 90_000

const readySchema = z.strictObject({
  url: z.url(),
  apiKey: z.string(),
  adminKey: z.string(),
  model: z.string(),
  metricsUrl: z.string(),
  redisUrl: z.string(),
  pid: z.int(),
})
const recordsSchema = z.array(z.object({ name: z.string(), pid: z.int() }))

export class AxleProcess {
  readonly dataDir: string
  readonly npm: ChildProcess
  output = ''

  constructor(dataDir: string, environment: Readonly<Record<string, string>>) {
    this.dataDir = dataDir
    const { REDIS_URL: _, ...inherited } = process.env
    this.npm = spawn('npm', ['start'], {
      cwd: root,
      env: { ...inherited, AXLE_DATA_DIR: dataDir, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.npm.stdout, this.npm.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString()
      })
    }
    onTestFinished(async () => {
      await this.stop()
    })
  }

  /** @returns ready.json once it is there. */
  async ready(): Promise<z.infer<typeof readySchema>> {
    const path = join(this.dataDir, 'ready.json')
    await eventually(() => {
      if (this.npm.exitCode !== null) throw new Error(`npm start ended:\n${this.output}`)
      return existsSync(path)
    }, readyDeadlineMs)
    return readySchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  }

  /** Pids of everything the launcher started. */
  children(): { name: string; pid: number }[] {
    return recordsSchema.parse(JSON.parse(readFileSync(join(this.dataDir, 'processes.json'), 'utf8')))
  }

  async exit(): Promise<number | null> {
    if (this.npm.exitCode === null && this.npm.signalCode === null) await once(this.npm, 'exit')
    return this.npm.exitCode
  }

  async stop(): Promise<number | null> {
    this.npm.kill('SIGTERM')
    return this.exit()
  }

  /** SIGKILL to npm, the bootstrap and the launcher at once: nobody of them can clean up. */
  async killHard(): Promise<void> {
    const { pid } = await this.ready()
    const launcherParent = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1])
    for (const victim of [this.npm.pid ?? 0, launcherParent, pid]) process.kill(victim, 'SIGKILL')
    await eventually(() => !isAlive(pid))
  }
}
