/**
 * Every metric of the deployment: the engine's from heartbeats, `queue_*` and `gateway_*` from the cell's counters.
 *
 * It knows names; neither Redis nor HTTP. Labels are words of ours (tiers, routes, codes) and worker ids: no tenant, key
 * or job, and what is none of ours is left out.
 */
import { gatewayBoundsMs } from '../contract/gateway-counters.ts'
import { endStatuses } from '../contract/job.ts'
import { serviceTiers } from '../contract/quota.ts'
import type { CellReading } from './cell-reading.ts'
import { engineMetrics } from './engine-metrics.ts'
import type { Family, Histogram, Labels, Sample } from './exposition.ts'

type Hash = Readonly<Record<string, string>>

/** As `contract/lua/include/leave-queue.lua` counts them. */
const waitBoundsMs = [10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 120_000]

/** @param reading null while Redis is away. */
export function metricsOf(reading: CellReading | null): Family[] {
  const up = gauge(
    'redis_up',
    'Whether Redis answered this scrape; 0 leaves out all that it knows.',
    reading === null ? 0 : 1,
  )
  return reading === null
    ? [up]
    : [up, ...queueMetrics(reading), ...gatewayMetrics(reading), ...engineMetrics(reading.heartbeats)]
}

function queueMetrics({ cell, laneLoad, openCount, oldestAgeMs, heartbeats, ...counts }: CellReading): Family[] {
  // What lost records left behind heals with the next admission to an idle cell.
  const depthOf = (tier: string) => (openCount === 0 ? 0 : Math.max(0, numberAt(cell, `queued:${tier}`)))
  const tiers = serviceTiers.map((tier) => ({ labels: { tier }, value: depthOf(tier) }))
  const admitted = serviceTiers.map((tier) => ({ labels: { tier }, value: numberAt(cell, `admitted:${tier}`) }))
  const ended = endStatuses.map((status) => ({ labels: { status }, value: numberAt(cell, `ended:${status}`) }))
  const lanes = Object.keys(laneLoad).map((lane) => ({ labels: { lane }, value: numberAt(laneLoad, lane) }))
  const readyCount = heartbeats.filter(({ isReady }) => isReady).length
  return [
    gauge('queue_open_jobs', 'Jobs admitted and not yet ended.', openCount),
    family('queue_depth', 'gauge', 'Jobs that no worker has claimed yet.', tiers),
    gauge('queue_oldest_job_age_seconds', 'Age of the oldest job that has not ended.', (oldestAgeMs ?? 0) / 1_000),
    {
      name: 'queue_wait_seconds',
      help: 'From admission to the first claim.',
      kind: 'histogram',
      samples: [waits(cell)],
    },
    family('queue_jobs_admitted_total', 'counter', 'Jobs admitted.', admitted),
    family('queue_jobs_ended_total', 'counter', 'Jobs that ended.', ended),
    family('queue_lane_load', 'gauge', 'Jobs admitted to a lane and not yet ended.', lanes),
    gauge('queue_undrained_usage_rows', 'Usage rows that wait to be written to D1.', counts.undrainedCount),
    gauge('queue_unreadable_usage_rows', 'Usage rows set aside: somebody has to look at them.', counts.unreadableCount),
    gauge('queue_workers_ready', 'GPU workers whose model has generated a token.', readyCount),
  ]
}

function gatewayMetrics({ cell, gateway }: CellReading): Family[] {
  const routes = matches(gateway, /^durationSumMs:([\w/:.*{}-]+)$/).map(([route = '']) => route)
  const answers = matches(gateway, /^requests:([\w/:.*{}-]+):(\d{3})$/)
  const refusals = matches(gateway, /^refused:([a-z_]+)$/)
  const kinds = ['input', 'cached', 'output', 'reasoning']
  const value = (field: string, labels: Labels): Sample => ({ labels, value: numberAt(gateway, field) })
  return [
    family(
      'gateway_requests_total',
      'counter',
      'Answers, by route and HTTP status.',
      answers.map(([route = '', status = '']) => value(`requests:${route}:${status}`, { route, status })),
    ),
    {
      name: 'gateway_request_duration_seconds',
      help: "From a request to its answer's headers, which may go out before a long answer is whole.",
      kind: 'histogram',
      samples: routes.map((route) => times(gateway, `duration:${route}:`, `durationSumMs:${route}`, { route })),
    },
    {
      name: 'gateway_ttft_seconds',
      help: "From a request to its answer's first token.",
      kind: 'histogram',
      samples: [times(gateway, 'ttft:', 'ttftSumMs', {})],
    },
    family(
      'gateway_refusals_total',
      'counter',
      'Error answers, by code.',
      refusals.map(([code = '']) => value(`refused:${code}`, { code })),
    ),
    family(
      'gateway_tokens_total',
      'counter',
      'Tokens of the jobs that ended: input (cached ones included), cached, output, reasoning.',
      kinds.map((kind) => ({ labels: { kind }, value: numberAt(cell, `tokens:${kind}`) })),
    ),
  ]
}

/** Cumulative there. */
function waits(cell: Hash): Histogram {
  const upTo = [...waitBoundsMs, 'inf'].map((bound) => numberAt(cell, `wait:${bound}`))
  return {
    labels: {},
    bounds: waitBoundsMs.map((ms) => ms / 1_000),
    counts: upTo.map((count, index) => count - (upTo[index - 1] ?? 0)),
    sum: numberAt(cell, 'waitSumMs') / 1_000,
  }
}

function times(gateway: Hash, prefix: string, sumField: string, labels: Labels): Histogram {
  return {
    labels,
    bounds: gatewayBoundsMs.map((ms) => ms / 1_000),
    counts: [...gatewayBoundsMs, 'inf'].map((bound) => numberAt(gateway, `${prefix}${bound}`)),
    sum: numberAt(gateway, sumField) / 1_000,
  }
}

function gauge(name: string, help: string, value: number): Family {
  return family(name, 'gauge', help, [{ labels: {}, value }])
}

function family(name: string, kind: 'gauge' | 'counter', help: string, samples: readonly Sample[]): Family {
  return { name, help, kind, samples }
}

/** What the pattern finds in the fields' names, a list of its groups each. */
function matches(hash: Hash, pattern: RegExp): string[][] {
  return Object.keys(hash).flatMap((field) => {
    const found = pattern.exec(field)
    return found === null ? [] : [found.slice(1)]
  })
}

/** 0 where nothing was counted yet. */
function numberAt(hash: Hash, field: string): number {
  return Number(hash[field] ?? 0)
}
