/**
 * Caches of a layer's experts replayed over recorded routes: how many of the experts that steps needed lay in a slot.
 *
 * Ours, the one that lets go of what was used longest ago, and Belady's, which knows what comes and lets go of what is
 * needed last. All of them hold whoever a step needs, as far as there are slots, when it ends. Knows no weights and no time.
 */
import { Residency } from '../../gpu-worker/experts/residency.ts'

/** By step, the distinct experts that it needs. */
export type Trace = readonly ReadonlySet<number>[]

export interface ReplayedLayer {
  readonly expertCount: number
  readonly slotCount: number
  /** Steps before this one fill the cache and are not counted. */
  readonly countedFrom: number
}

export type Policy = 'ours' | 'lru' | 'belady'

/** Percent. */
export function hitRate(trace: Trace, layer: ReplayedLayer, policy: Policy): number {
  const cache = policy === 'ours' ? oursOver(layer) : rankedOver(layer, policy === 'lru' ? lastUses() : nextUses(trace))
  let [needed, held] = [0, 0]
  for (const [step, experts] of trace.entries()) {
    const own = cache(experts, step)
    if (step < layer.countedFrom) continue
    needed += experts.size
    held += own
  }
  return (100 * held) / needed
}

/** Takes a step's experts; how many of them it held. */
type Cache = (experts: ReadonlySet<number>, step: number) => number

function oursOver({ expertCount, slotCount }: ReplayedLayer): Cache {
  const residency = new Residency(expertCount, slotCount)
  return (experts) => {
    const before = residency.held
    residency.plan(experts)
    return residency.held - before
  }
}

/** The higher an expert's rank behind a step, the longer it stays. */
type Rank = (expert: number, step: number) => number

function rankedOver({ slotCount }: ReplayedLayer, rank: (experts: ReadonlySet<number>, step: number) => Rank): Cache {
  let resident: readonly number[] = []
  return (experts, step) => {
    const rankOf = rank(experts, step)
    const held = resident.filter((expert) => experts.has(expert))
    const byRank = (list: readonly number[]): number[] =>
      list.toSorted(
        (a, b) => rankOf(b, step) - rankOf(a, step) || Number(resident.includes(b)) - Number(resident.includes(a)),
      )
    const others = resident.filter((expert) => !experts.has(expert))
    resident = [...byRank([...experts]), ...byRank(others)].slice(0, slotCount)
    return held.length
  }
}

function lastUses(): (experts: ReadonlySet<number>, step: number) => Rank {
  const last = new Map<number, number>()
  return (experts, step) => {
    for (const expert of experts) last.set(expert, step)
    return (expert) => last.get(expert) ?? -1
  }
}

function nextUses(trace: Trace): () => Rank {
  /** By expert, the steps that need it. */
  const steps = new Map<number, number[]>()
  for (const [step, experts] of trace.entries()) {
    for (const expert of experts) steps.set(expert, [...(steps.get(expert) ?? []), step])
  }
  return () => (expert, step) => -(steps.get(expert)?.find((next) => next > step) ?? Infinity)
}
