/**
 * Runs cases in a process beside this one and judges each: it must load or be refused, in time and within memory.
 *
 * Owns the process: a late or dead one is replaced. It draws no case and knows no reader.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FuzzCase } from './cases.ts'
import type { Answer, Outcome } from './child.ts'

/** A case takes milliseconds, a template that meets its bound of time a second; a busy machine takes its share, too. */
const CASE_DEADLINE_MS = 15_000
/** Above what the process held before its first case. No file of the corpus has 2 MB. */
const MEMORY_GROWTH_MAX_BYTES = 384 << 20
const HEAP_MAX_MIB = 320

const root = join(import.meta.dirname, '../../..')

export class Hunt {
  readonly #reader: string
  readonly #dir: string
  readonly #deadlineMs: number
  #child: ChildProcess | null = null
  #memoryAtStartBytes = 0
  /** Of the cases so far. */
  readonly most = { milliseconds: 0, grownBytes: 0 }

  private constructor(reader: string, dir: string, deadlineMs: number) {
    this.#deadlineMs = deadlineMs
    this.#reader = reader
    this.#dir = dir
  }

  /** Copies the corpus, weights of axk1-tiny left out: nothing is fuzzed there but text. */
  static async open(reader: string, bases: readonly string[], deadlineMs = CASE_DEADLINE_MS): Promise<Hunt> {
    const dir = await mkdtemp(join(tmpdir(), 'axle-fuzz-'))
    await mkdir(join(dir, 'corpus'))
    for (const base of bases) {
      const source = base === 'axk1-tiny' ? join(root, 'models', base) : join(root, 'test/goldens', base)
      await mkdir(join(dir, 'corpus', base))
      for (const entry of await readdir(source, { withFileTypes: true })) {
        const isWanted = entry.isFile() && !/^(expected|float32)\.|\.md$|^(chats|eval)\.json$/.test(entry.name)
        if (!isWanted || (base === 'axk1-tiny' && entry.name.endsWith('.safetensors'))) continue
        await copyFile(join(source, entry.name), join(dir, 'corpus', base, entry.name))
      }
    }
    return new Hunt(reader, dir, deadlineMs)
  }

  /** Throws where a case ended in anything but a load or a refusal. */
  async run(one: FuzzCase): Promise<Outcome> {
    const child = await this.#started()
    const answered = new Promise<Answer>((resolve, reject) => {
      child.once('message', (answer: Answer) => {
        resolve(answer)
      })
      child.once('exit', (code, signal) => {
        reject(new Error(`The process died of it: ${signal ?? `exit code ${code}`}`))
      })
    })
    const startedMs = performance.now()
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      child.kill('SIGKILL')
    }, this.#deadlineMs)
    try {
      child.send(one)
      const { outcome, memoryMaxBytes } = await answered
      if (outcome.kind === 'wrong') throw new Error(`Neither loaded nor refused: ${outcome.problem}`)
      const grownBytes = memoryMaxBytes - this.#memoryAtStartBytes
      if (grownBytes > MEMORY_GROWTH_MAX_BYTES)
        throw new Error(`It took ${Math.round(grownBytes / 2 ** 20)} MiB of memory`)
      this.most.milliseconds = Math.max(this.most.milliseconds, performance.now() - startedMs)
      this.most.grownBytes = Math.max(this.most.grownBytes, grownBytes)
      return outcome
    } catch (error) {
      await this.#stop()
      throw isLate ? new Error(`It took over ${this.#deadlineMs} ms`, { cause: error }) : error
    } finally {
      clearTimeout(timer)
      child.removeAllListeners('message')
      child.removeAllListeners('exit')
    }
  }

  async close(): Promise<void> {
    await this.#stop()
    await rm(this.#dir, { recursive: true })
  }

  async #started(): Promise<ChildProcess> {
    if (this.#child !== null) return this.#child
    const args = [this.#reader, join(this.#dir, 'corpus'), this.#dir]
    const execArgv = [`--max-old-space-size=${HEAP_MAX_MIB}`]
    const child = fork(join(import.meta.dirname, 'child.ts'), args, {
      execArgv,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#child = child
    const [ready]: unknown[] = await once(child, 'message')
    this.#memoryAtStartBytes = typeof ready === 'number' ? ready : 0
    return child
  }

  async #stop(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
}
