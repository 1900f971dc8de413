/**
 * The order in which waiting sequences run, and the only place that knows it. Lower comes first:
 *
 *   past its age cap          0, due time
 *   preempted, not past it    1, class, 0, due time
 *   new, not past it          1, class, 1, −response ratio
 *
 * and among equals the older submission. A sequence is due when its age reaches the cap of its class. The response ratio
 * is (waited + service) / service (highest response ratio next; Brinch Hansen 1971), where service is what the tokens take
 * that no cached block holds. How long a token takes does not matter: the order is that of waited / tokens.
 *
 * Nobody starves: who is past its cap is passed only by who is due before, and those are finitely many, since whatever
 * arrives later than its due time is due later still. It does not know blocks, slots or the GPU.
 */
import { type Sequence, type ServiceClass, serviceClasses } from './sequence.ts'

export type AgeCapsMs = Readonly<Record<ServiceClass, number>>

/** Low caps are first come, first served under overload: at 15 s bursts already halved what the ratio gains. */
export const defaultAgeCapsMs: AgeCapsMs = { interactive: 30_000, think: 90_000, batch: 300_000 }

/** What a step costs before its first row, in rows: else a prompt of one token would pass one of two. */
const rowsPerStart = 64

/** @param uncachedCount of a waiting sequence: known tokens that no cached block holds. */
export function firstInOrder(
  waiting: Iterable<Sequence>,
  nowMs: number,
  uncachedCount: (sequence: Sequence) => number,
): Sequence | null {
  let first: { readonly sequence: Sequence; readonly rank: readonly number[] } | null = null
  for (const sequence of waiting) {
    const rank = rankOf(sequence, nowMs, uncachedCount)
    if (first === null || isBefore(rank, first.rank)) first = { sequence, rank }
  }
  return first?.sequence ?? null
}

function rankOf(sequence: Sequence, nowMs: number, uncachedCount: (sequence: Sequence) => number): readonly number[] {
  const { arrival, arrivedMs, dueMs, serviceClass, hasStarted } = sequence
  const classRank = serviceClasses.indexOf(serviceClass)
  if (nowMs >= dueMs) return [0, dueMs, arrival]
  if (hasStarted) return [1, classRank, 0, dueMs, arrival]
  return [1, classRank, 1, -(nowMs - arrivedMs) / (uncachedCount(sequence) + rowsPerStart), arrival]
}

/** Ranks differ at the latest in the arrival, before either ends. */
function isBefore(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index])
  return (a[at] ?? 0) < (b[at] ?? 0)
}
