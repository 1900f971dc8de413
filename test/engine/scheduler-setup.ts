/** A scheduler alone and what tests of its policy ask of it: sequences by prompt length, steps as rows. */
import { defaultAgeCapsMs } from '../../gpu-worker/engine/admission.ts'
import { rootKey } from '../../gpu-worker/engine/prefix-key.ts'
import type { RunnerLimits } from '../../gpu-worker/engine/runner.ts'
import { positionsMax, type Scheduled, Scheduler } from '../../gpu-worker/engine/scheduler.ts'
import { Sequence, type SequenceRequest } from '../../gpu-worker/engine/sequence.ts'

export const roomy: RunnerLimits = {
  rowsMax: 8,
  sequencesMax: 4,
  blockTokens: 4,
  blockCount: 100,
  contextTokensMax: 100,
  vocabSize: 64,
}

/** A scheduler and what an engine around it would do: every step's rows are computed, every sampled token is 1. */
export function policy(changes: Partial<RunnerLimits> = {}, prefillRowsMax = 64) {
  const limits = { ...roomy, ...changes }
  const scheduler = new Scheduler(limits, { prefillRowsMax, ageCapsMs: defaultAgeCapsMs })
  let arrivalCount = 0

  function add(promptCount: number, request: Partial<SequenceRequest> = {}): Sequence {
    const id = String.fromCodePoint('a'.charCodeAt(0) + arrivalCount)
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] } as const
    const promptTokenIds = Array.from({ length: promptCount }, () => 1)
    const whole = { id, promptTokenIds, sampling, stopTokenIds: [], answerTokensMax: 100, ...request }
    const sequence = new Sequence(whole, arrivalCount, positionsMax(limits), rootOf(request.tenantId))
    arrivalCount += 1
    scheduler.add(sequence, 0)
    return sequence
  }

  /** Plans and executes a step; returns its rows as `id:rowCount`. */
  function step(): string[] {
    const plan = scheduler.schedule(0)
    for (const scheduled of plan) execute(scheduled)
    scheduler.checkIntegrity()
    return plan.map(({ sequence, rows }) => `${sequence.id}:${rows.tokenIds.length}`)
  }

  return { scheduler, add, step }
}

function rootOf(tenantId: string | undefined) {
  return tenantId === undefined ? null : rootKey('model', tenantId)
}

function execute({ sequence, rows }: Scheduled): void {
  if (rows.sampler !== null) sequence.append(1)
}

export function blockCountOf({ state }: Sequence): number {
  return state.kind === 'running' ? state.blocks.length : 0
}
