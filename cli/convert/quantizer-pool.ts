/**
 * Threads that quantise, as many as the machine has cores; a task waits for a free one. Results do not depend on the count.
 *
 * It knows tasks, not tensors. The owner bounds how many it hands in, and closes it.
 */
import assert from 'node:assert/strict'
import { Worker } from 'node:worker_threads'
import type { QuantizeResult, QuantizeTask } from './quantizer-thread.ts'

interface Waiting {
  readonly task: QuantizeTask
  readonly resolve: (result: QuantizeResult) => void
  readonly reject: (error: unknown) => void
}

export class QuantizerPool {
  readonly #threads: readonly Worker[]
  readonly #idle: Worker[]
  readonly #waiting: Waiting[] = []
  readonly #running = new Map<Worker, Waiting>()
  #failure: Error | null = null

  constructor(threadCount: number) {
    this.#threads = Array.from({ length: threadCount }, () => this.#start())
    this.#idle = [...this.#threads]
  }

  get threadCount(): number {
    return this.#threads.length
  }

  /** Takes the task's bytes over. */
  quantize(task: QuantizeTask): Promise<QuantizeResult> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject })
      this.#dispatch()
    })
  }

  async close(): Promise<void> {
    this.#fail(new Error('The quantiser was closed'))
    await Promise.all(this.#threads.map((thread) => thread.terminate()))
  }

  #start(): Worker {
    // Chunks are large and objects few: collected early, they leave a thread at 45 MiB.
    const thread = new Worker(new URL('quantizer-thread.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: 2 },
    })
    thread.on('message', (result: QuantizeResult) => {
      const done = this.#running.get(thread)
      // Its task was rejected when another thread failed.
      if (done === undefined) return
      this.#running.delete(thread)
      this.#idle.push(thread)
      done.resolve(result)
      this.#dispatch()
    })
    thread.on('error', (error) => this.#fail(error))
    return thread
  }

  #dispatch(): void {
    if (this.#failure !== null) return this.#fail(this.#failure)
    while (this.#idle.length > 0) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      const thread = this.#idle.pop()
      assert(thread !== undefined)
      this.#running.set(thread, next)
      thread.postMessage(next.task, [next.task.bytes.buffer])
    }
  }

  #fail(error: Error): void {
    this.#failure = error
    for (const { reject } of [...this.#running.values(), ...this.#waiting.splice(0)]) reject(error)
    this.#running.clear()
  }
}
