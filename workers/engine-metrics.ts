/**
 * The engine's part of the metrics, under vLLM's names, from what the GPU workers say of themselves.
 *
 * It knows names and shapes, not how a figure comes about. A worker that is gone takes its series with it.
 */
import type { Heartbeat } from '../contract/heartbeat.ts'
import type { Family, Histogram, Labels, Sample } from './exposition.ts'

const counters: Readonly<Record<string, string>> = {
  prompt_tokens: 'Prompt tokens of the sequences that began to run, cached ones included.',
  generation_tokens: 'Tokens generated.',
  prefix_cache_queries: 'Prompt tokens looked for in the prefix cache.',
  prefix_cache_hits: 'Prompt tokens found in the prefix cache.',
  num_preemptions: 'Sequences that gave their KV blocks up and waited again.',
}

const histograms: Readonly<Record<string, string>> = {
  time_to_first_token_seconds: 'From admission to the first token. Jobs taken over from another worker are left out.',
  inter_token_latency_seconds: 'Between two tokens of an answer.',
  e2e_request_latency_seconds: 'From admission to the end. Jobs taken over from another worker are left out.',
  request_queue_time_seconds: 'From admission to the first step. Jobs taken over from another worker are left out.',
  request_prefill_time_seconds: 'From the first step to the first token.',
  request_decode_time_seconds: 'From the first token to the last.',
  request_prompt_tokens: 'Prompt tokens of the requests that ended.',
  request_generation_tokens: 'Answer tokens of the requests that ended.',
}

/** Of the counter with reasons for label. */
const success = 'request_success:'

export function engineMetrics(heartbeats: readonly Heartbeat[]): Family[] {
  const gauge = (name: string, help: string, valueOf: (beat: Heartbeat) => number): Family => ({
    name: `vllm:${name}`,
    help,
    kind: 'gauge',
    samples: heartbeats.map((beat) => ({ labels: labelsOf(beat), value: valueOf(beat) })),
  })
  return [
    gauge('num_requests_running', 'Sequences in the running batch.', ({ running }) => running),
    gauge('num_requests_waiting', 'Sequences that wait in the engine.', ({ waiting }) => waiting),
    gauge('kv_cache_usage_perc', 'KV blocks in use; 1 is all of them.', usageOf),
    ...Object.entries(counters).map(([name, help]) => counter(name, help, heartbeats)),
    {
      name: 'vllm:request_success_total',
      help: 'Requests that ended here, by how: stop, length, abort, error.',
      kind: 'counter',
      samples: heartbeats.flatMap(endings),
    },
    ...Object.entries(histograms).map(([name, help]) => histogram(name, help, heartbeats)),
  ]
}

function counter(name: string, help: string, heartbeats: readonly Heartbeat[]): Family {
  const samples = heartbeats.flatMap((beat): Sample[] => {
    const value = beat.figures?.counters[name]
    return value === undefined ? [] : [{ labels: labelsOf(beat), value }]
  })
  return { name: `vllm:${name}_total`, help, kind: 'counter', samples }
}

function endings(beat: Heartbeat): Sample[] {
  return Object.entries(beat.figures?.counters ?? {})
    .filter(([name]) => name.startsWith(success))
    .map(([name, value]) => ({ labels: { ...labelsOf(beat), finished_reason: name.slice(success.length) }, value }))
}

function histogram(name: string, help: string, heartbeats: readonly Heartbeat[]): Family {
  const samples = heartbeats.flatMap((beat): Histogram[] => {
    const figure = beat.figures?.histograms[name]
    return figure === undefined ? [] : [{ labels: labelsOf(beat), ...figure }]
  })
  return { name: `vllm:${name}`, help, kind: 'histogram', samples }
}

function labelsOf({ model, workerId }: Heartbeat): Labels {
  return { model_name: model, worker: workerId }
}

function usageOf({ freeBlocks, blockCount }: Heartbeat): number {
  return blockCount === 0 ? 0 : (blockCount - freeBlocks) / blockCount
}
