/**
 * All children of one start: started here, stopped together and in order within the ten seconds a stop may take.
 * It does not know what any of them does.
 */
import { Child, type ChildHost, type ChildPlan } from './child.ts'
import type { Detail } from './progress.ts'

/** Two waves, then what the launcher itself needs to end: together under the 10 s that a stop may take. */
const firstWaveGraceMs = 6_000
const lastWaveGraceMs = 2_500

/** Thrown at whoever still starts children when the crew is being stopped. */
export class Stopping extends Error {
  override readonly name = 'Stopping'
}

export class Crew {
  readonly #host: ChildHost
  readonly #children: { readonly child: Child; readonly outlivesOthers: boolean }[] = []
  #stopped: Promise<void> | undefined

  constructor(host: ChildHost) {
    this.#host = host
  }

  /**
   * @param outlivesOthers stopped only when the others are gone: they need it to the end
   * @throws Stopping once `stop` was called
   */
  start(plan: ChildPlan, detail: Detail, { outlivesOthers = false } = {}): Child {
    if (this.#stopped !== undefined) throw new Stopping(`Not starting ${plan.name}: everything is being stopped`)
    const child = new Child(plan, this.#host, detail)
    this.#children.push({ child, outlivesOthers })
    return child
  }

  get isStopping(): boolean {
    return this.#stopped !== undefined
  }

  /** Resolves when nothing runs any more. A second call waits for the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopInOrder()
    return this.#stopped
  }

  /** For someone who will not wait: SIGKILL to all. */
  kill(): void {
    for (const { child } of this.#children) child.kill()
  }

  async #stopInOrder(): Promise<void> {
    for (const wave of [false, true]) {
      const graceMs = wave ? lastWaveGraceMs : firstWaveGraceMs
      const children = this.#children.filter(({ outlivesOthers }) => outlivesOthers === wave)
      await Promise.all(children.map(({ child }) => child.stop(graceMs)))
    }
  }
}
