/**
 * The Python process that runs transformers: found, checked against the pinned versions, asked one thing at a time.
 *
 * It does not know what is asked, nor what it is compared with. Whoever started it closes it.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { z } from 'zod'
import { CannotMeasure } from '../report.ts'

export type PeerDtype = 'float32' | 'bfloat16'

export interface PeerOrder {
  readonly dtype: PeerDtype
  /** Token ids [prompts, tokens], all of one length. */
  readonly prompts: readonly (readonly number[])[]
  /** Tokens to answer with, each. */
  readonly new: number
}

const answer = z.object({ tokens: z.array(z.array(z.number())), seconds: z.array(z.number()) })
/** `seconds`: from the order to each step's tokens. */
export type PeerAnswer = z.infer<typeof answer>

const greeting = z.union([z.object({ versions: z.record(z.string(), z.string()) }), z.object({ missing: z.string() })])
const script = join(import.meta.dirname, 'transformers-peer.py')
const requirements = join(import.meta.dirname, 'requirements.txt')
const PINNED_ON_CPU = { device: 'cpu', versions: 'pinned' } as const
const answerDeadlineMs = 120_000

/** Python, a package, or the pinned version of one is not there. */
export class PeerMissing extends CannotMeasure {
  override readonly name = 'PeerMissing'

  constructor(python: string, what: string) {
    super(
      `Cannot run transformers with ${python}: ${what}\n` +
        `Install what is pinned, e.g. \`${python} -m pip install -r bench/peers/requirements.txt\` in a virtual environment, ` +
        'or name a Python that has it in AXLE_PYTHON.',
    )
  }
}

export class TransformersPeer {
  readonly versions: Readonly<Record<string, string>>
  readonly #python: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  private constructor(
    python: string,
    child: ChildProcessByStdio<Writable, Readable, null>,
    lines: AsyncIterator<string>,
    versions: Readonly<Record<string, string>>,
  ) {
    this.#python = python
    this.#child = child
    this.#lines = lines
    this.versions = versions
  }

  /** @throws PeerMissing when Python, a package or the pinned version of one is not there; `versions`: whether it must be. */
  static async start(
    python: string,
    checkpoint: string,
    threadCount: number,
    { device, versions }: { readonly device: 'cpu' | 'cuda'; readonly versions: 'pinned' | 'any' } = PINNED_ON_CPU,
  ): Promise<TransformersPeer> {
    const child = spawn(python, [script, checkpoint, `${threadCount}`, device], { stdio: ['pipe', 'pipe', 'inherit'] })
    const failed = once(child, 'error').then(([error]: unknown[]) => {
      throw new PeerMissing(python, error instanceof Error ? error.message : 'it does not start')
    })
    failed.catch(() => undefined)
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = await Promise.race([lines.next(), failed])
    if (line.done === true) throw new PeerMissing(python, 'it ended without a word')
    const first = greeting.parse(JSON.parse(line.value))
    if ('missing' in first) throw new PeerMissing(python, first.missing)
    const peer = new TransformersPeer(python, child, lines, first.versions)
    try {
      if (versions === 'pinned') await peer.#checkVersions()
    } catch (error) {
      await peer.close()
      throw error
    }
    return peer
  }

  async ask(order: PeerOrder): Promise<PeerAnswer> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
    const late = setTimeout(() => this.#child.kill('SIGKILL'), answerDeadlineMs)
    const line = await this.#lines.next()
    clearTimeout(late)
    if (line.done === true) throw new Error(`transformers ended, or did not answer within ${answerDeadlineMs} ms`)
    return answer.parse(JSON.parse(line.value))
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    await ended
  }

  async #checkVersions(): Promise<void> {
    const pinned = (await readFile(requirements, 'utf8')).trim().split('\n')
    for (const line of pinned) {
      const [name = '', wanted = ''] = line.split('==')
      // torch says what it was built for behind a plus.
      const found = this.versions[name]?.split('+')[0]
      if (found !== wanted) throw new PeerMissing(this.#python, `expected ${name} ${wanted}, got ${found ?? 'none'}`)
    }
  }
}
