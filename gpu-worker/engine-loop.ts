/**
 * Steps the engine while it has work, tells every sequence's owner what happened, and rests while their logs lag.
 *
 * It does not know jobs, text or Redis. An owner that throws loses its own sequence, never the batch.
 */
import assert from 'node:assert/strict'
import type { Engine, EngineStats, Submission } from './engine/engine.ts'
import type { TokenLogProb } from './engine/runner.ts'
import type { EndReason, SequenceRequest, Steering } from './engine/sequence.ts'
import { Signal } from './signal.ts'

export interface SequenceOwner {
  /** Once, when it first runs. */
  readonly onStart: (cachedTokenCount: number) => void
  /** @param logProbs the token's own, then the likeliest in order; null where the request asks for none. */
  readonly onToken: (index: number, tokenId: number, logProbs: readonly TokenLogProb[] | null) => void
  /** Once, behind the last token. */
  readonly onEnd: (reason: EndReason) => void
  /** An error of the owner's own: its sequence is being cancelled, and only the end will still be told. */
  readonly onFault: (error: unknown) => void
  /** Resolves when the owner can take more tokens; null when it can now. */
  readonly congestion: () => Promise<void> | null
}

export class EngineLoop {
  readonly #engine: Engine
  readonly #nowMs: () => number
  readonly #onStep: () => void
  readonly #owners = new Map<string, SequenceOwner>()
  /** Have thrown: they hear of the end and nothing else. */
  readonly #faulty = new WeakSet<SequenceOwner>()
  readonly #work = new Signal()

  /**
   * @param nowMs the clock of the requests' `arrivedMs`.
   * @param onStep after every step: places may have become free.
   */
  constructor(engine: Engine, nowMs: () => number, onStep: () => void) {
    this.#engine = engine
    this.#nowMs = nowMs
    this.#onStep = onStep
  }

  get tokensMax(): number {
    return this.#engine.tokensMax
  }

  stats(): EngineStats {
    return this.#engine.stats()
  }

  submit(request: SequenceRequest, owner: SequenceOwner): Submission {
    const { steer } = request
    const submission = this.#engine.submit({
      ...request,
      ...(steer === undefined ? {} : { steer: (index) => this.#steer(request.id, owner, () => steer(index)) }),
    })
    if (submission.kind === 'accepted') {
      this.#owners.set(request.id, owner)
      this.#work.notify()
    }
    return submission
  }

  cancel(id: string): void {
    this.#engine.cancel(id)
  }

  finish(id: string): void {
    this.#engine.finish(id)
  }

  /** What waits ends with 'handed-back' in the next step, and nothing new is taken. */
  drain(): void {
    this.#engine.drain()
  }

  /** Until `signal` aborts, between two steps. @throws StepFailed when the Runner rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#work.notify(), { once: true })
    while (!signal.aborted) {
      if (!this.#engine.hasWork) {
        await this.#work.wait()
        continue
      }
      await this.#relief()
      if (signal.aborted) return
      for (const event of await this.#engine.step(this.#nowMs())) {
        const owner = this.#owners.get(event.id)
        assert(owner !== undefined, `Sequence ${event.id} has no owner`)
        if (event.kind === 'end') this.#owners.delete(event.id)
        else if (this.#faulty.has(owner)) continue
        this.#tell(event.id, owner, () => {
          if (event.kind === 'start') owner.onStart(event.cachedTokenCount)
          else if (event.kind === 'token') owner.onToken(event.index, event.tokenId, event.logProbs ?? null)
          else if (event.kind === 'end') owner.onEnd(event.reason)
        })
      }
      this.#onStep()
    }
  }

  /** Waits for every owner that lags: a step runs the whole batch. */
  async #relief(): Promise<void> {
    for (const owner of this.#owners.values()) await owner.congestion()
  }

  /** An owner that throws is not asked again: its sequence ends before the next token. */
  #steer(id: string, owner: SequenceOwner, ask: () => Steering): Steering {
    let steering: Steering = {}
    this.#tell(id, owner, () => {
      steering = ask()
    })
    return steering
  }

  #tell(id: string, owner: SequenceOwner, say: () => void): void {
    try {
      say()
    } catch (error) {
      this.#engine.cancel(id)
      this.#faulty.add(owner)
      owner.onFault(error)
    }
  }
}
