/**
 * One child process kept alive: started, watched until it is ready, started again whenever it dies, stopped for good.
 * It does not know what the child does, nor of the other children.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { type LifecycleFacts, parseLifecycleMessage } from '../contract/lifecycle.ts'
import { lastLines, rotateLog, withLog } from './child-log.ts'
import { Failure } from './failure.ts'
import type { ProcessRecords } from './process-records.ts'
import type { Detail } from './progress.ts'

export interface ChildPlan {
  /** Also the name of its log file. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly environment: NodeJS.ProcessEnv
  /** What it reads from stdin, which is closed after; keeps secrets out of the argument list. */
  readonly input?: string
  /** `told`: it speaks `contract/lifecycle.ts`. `asked`: it is ready once `ask` resolves; `ask` gives up on `signal`. */
  readonly readiness: { readonly kind: 'told' } | { readonly kind: 'asked'; ask(signal: AbortSignal): Promise<void> }
}

export interface ChildHost {
  readonly logDir: string
  readonly records: ProcessRecords
  /** Says something about a child after its first readiness: it died, it is back. */
  readonly report: (line: string) => void
}

/** A child that dies this often before it was ever ready will not get better. */
const deathsBeforeReadyMax = 3
/** A child that has neither become ready nor reported progress for this long hangs; large weights load in steps of 10 %. */
const silenceMaxMs = 300_000
/** The first restart is immediate; one that died soon after its start waits, twice as long each time. */
const backoffFirstMs = 200
const backoffMaxMs = 5_000
/** After this long a death is a new story. */
const steadyAfterMs = 20_000

export class Child {
  readonly plan: ChildPlan
  /** Settles once: with the facts of the first readiness, or a Failure when the child will not get there. */
  readonly ready: Promise<LifecycleFacts>
  readonly #host: ChildHost
  readonly #logPath: string
  readonly #detail: Detail
  #settle: { resolve(facts: LifecycleFacts): void; reject(error: Failure): void }
  #process: ChildProcess | undefined
  #isStopping = false
  #hasBeenReady = false
  #isGivenUp = false
  #deaths = 0
  #startedAt = 0
  #fatal: Failure | undefined
  #silence: NodeJS.Timeout | undefined
  #restart: NodeJS.Timeout | undefined

  constructor(plan: ChildPlan, host: ChildHost, detail: Detail) {
    this.plan = plan
    this.#host = host
    this.#detail = detail
    this.#logPath = `${host.logDir}/${plan.name}.log`
    const { promise, resolve, reject } = Promise.withResolvers<LifecycleFacts>()
    this.ready = promise
    this.#settle = { resolve, reject }
    // Whoever waits for readiness gets the error; when nobody does any more, it must not end this process.
    promise.catch(() => undefined)
    rotateLog(this.#logPath)
    this.#start()
  }

  /** SIGTERM, then SIGKILL to its whole process group after `graceMs`; resolves when nothing of it is left to wait for. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#restart)
    clearTimeout(this.#silence)
    const child = this.#process
    if (child === undefined || hasExited(child)) return
    const gone = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
    })
    child.kill('SIGTERM')
    const timer = setTimeout(() => killGroup(child.pid), graceMs)
    await gone
    clearTimeout(timer)
  }

  /** SIGKILL, now, to the whole process group. */
  kill(): void {
    this.#isStopping = true
    if (this.#process !== undefined && !hasExited(this.#process)) killGroup(this.#process.pid)
  }

  #start(): void {
    const { plan } = this
    this.#startedAt = performance.now()
    const output = withLog(this.#logPath, (log) =>
      spawn(plan.command, plan.args, {
        env: plan.environment,
        // A group of its own: a Ctrl-C in the terminal reaches the launcher alone, which then stops all in order.
        detached: true,
        stdio: [
          plan.input === undefined ? 'ignore' : 'pipe',
          log,
          log,
          plan.readiness.kind === 'told' ? 'ipc' : 'ignore',
        ],
      }),
    )
    this.#process = output
    if (output.pid !== undefined) this.#host.records.add(plan.name, output.pid)
    output.stdin?.on('error', () => undefined) // it died before it read: its exit tells more
    output.stdin?.end(plan.input)
    const over = new AbortController()
    output.once('error', (error) => {
      if (output.pid !== undefined) return
      over.abort()
      this.#giveUp(new Failure(`Cannot run ${plan.command}: ${error.message}`, `Is it installed and executable?`))
    })
    output.once('exit', (code, signal) => {
      over.abort()
      this.#died(output, signal ?? `exit code ${code}`)
    })
    this.#watchReadiness(output, over.signal)
  }

  #watchReadiness(child: ChildProcess, over: AbortSignal): void {
    const { readiness } = this.plan
    this.#watchSilence()
    if (readiness.kind === 'asked') {
      readiness.ask(over).then(
        () => this.#becameReady({}),
        (error: unknown) => {
          if (!over.aborted) this.#giveUp(asFailure(error))
        },
      )
      return
    }
    child.on('message', (value) => {
      const message = parseLifecycleMessage(value)
      if (message?.kind === 'ready') this.#becameReady(message.facts)
      if (message?.kind === 'fatal') this.#heardFatal(new Failure(message.message, message.wayOut))
      if (message?.kind === 'progress') {
        this.#watchSilence()
        this.#detail(message.detail === undefined ? message.step : `${message.step} ${message.detail}`)
      }
    })
  }

  #heardFatal(failure: Failure): void {
    this.#fatal = failure
    if (!this.#hasBeenReady) this.#giveUp(failure)
  }

  #watchSilence(): void {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => {
      const message = `${this.plan.name} has not moved on for ${silenceMaxMs / 1000} s`
      if (this.#hasBeenReady) this.#host.report(`${message}: starting it again`)
      else this.#giveUp(new Failure(message, this.#logHint()))
      killGroup(this.#process?.pid)
    }, silenceMaxMs)
    this.#silence.unref()
  }

  #becameReady(facts: LifecycleFacts): void {
    clearTimeout(this.#silence)
    if (this.#hasBeenReady) {
      this.#host.report(
        `${this.plan.name} is back after ${((performance.now() - this.#startedAt) / 1000).toFixed(1)} s`,
      )
    }
    this.#hasBeenReady = true
    this.#settle.resolve(facts)
  }

  #died(child: ChildProcess, how: string): void {
    clearTimeout(this.#silence)
    if (child.pid !== undefined) {
      killGroup(child.pid) // what it started dies with it
      this.#host.records.remove(child.pid)
    }
    if (this.#isStopping || this.#isGivenUp) return
    const isSteady = this.#hasBeenReady && performance.now() - this.#startedAt > steadyAfterMs
    this.#deaths = isSteady ? 1 : this.#deaths + 1
    const fatal = this.#fatal
    this.#fatal = undefined
    if (!this.#hasBeenReady && this.#deaths >= deathsBeforeReadyMax) {
      const message = `${this.plan.name} died ${this.#deaths} times before it was ready (${how})`
      return this.#giveUp(new Failure(message, this.#logHint()))
    }
    const delayMs = this.#deaths === 1 ? 0 : Math.min(backoffMaxMs, backoffFirstMs * 2 ** (this.#deaths - 2))
    if (this.#hasBeenReady) {
      this.#host.report(`${this.plan.name} died (${how}): starting it again`)
      if (fatal !== undefined) this.#host.report(`${this.plan.name} said: ${fatal.message}\n${fatal.wayOut}`)
    }
    this.#restart = setTimeout(() => this.#start(), delayMs)
  }

  #giveUp(failure: Failure): void {
    this.#isGivenUp = true
    this.#settle.reject(failure)
  }

  #logHint(): string {
    const lines = lastLines(this.#logPath)
    const where = `The whole log: ${this.#logPath}`
    return lines === '' ? `It said nothing. ${where}` : `Its last lines:\n\n${lines}\n\n${where}`
  }
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined
}

/** Every child leads its group, so the group's id is its pid; nothing left to kill is no error. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    // EPERM is what macOS says of a group in which only zombies are left.
    if (code !== 'ESRCH' && code !== 'EPERM') throw error
  }
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  return new Failure(
    error instanceof Error ? error.message : String(error),
    'This should not happen: please report it.',
  )
}
