/** What simulated lives went through; whoever counts shows that a number of them left nothing out. */
import type { EndReason } from '../../gpu-worker/engine/sequence.ts'

/** What a life went through, to show that a number of lives left nothing out. */
export interface SimulationCounts {
  steps: number
  tokens: number
  preemptions: number
  refusals: number
  resumptions: number
  isolations: number
  /** Prefill chunks that end inside a block. */
  cutBlocks: number
  /** Starts with cached tokens: of prompts alone, and of answers too. */
  promptHits: number
  answerHits: number
  /** Starts past the age cap, and starts that passed an older one by. */
  overdueStarts: number
  overtakings: number
  /** Steps in which several prompts have rows, and tokens sampled with penalties; prompt tokens told. */
  sharedChunks: number
  penalised: number
  promptTokensTold: number
  /** Rows fed on the GPU, and rows too many behind an end. */
  fedRows: number
  discardedRows: number
  drains: number
  ends: Record<EndReason, number>
}

export function emptyCounts(): SimulationCounts {
  const ends = { stop: 0, length: 0, cancelled: 0, 'not-finite': 0, 'handed-back': 0 }
  const hits = { promptHits: 0, answerHits: 0, overdueStarts: 0, overtakings: 0, fedRows: 0, discardedRows: 0 }
  const lives = { refusals: 0, resumptions: 0, isolations: 0, cutBlocks: 0, drains: 0 }
  const chunks = { sharedChunks: 0, penalised: 0, promptTokensTold: 0 }
  return { steps: 0, tokens: 0, preemptions: 0, ...lives, ...hits, ...chunks, ends }
}
