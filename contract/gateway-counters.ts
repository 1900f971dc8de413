/**
 * Names of what the gateways count: fields of one Redis hash (`keys.gateway`), written by the edge, read by metrics.
 *
 *     requests:<route>:<status>     answers; the route as the table has it, never a path that a client chose
 *     duration:<route>:<le>         of these, how many sent their headers within `le` ms and not within the bound before
 *     durationSumMs:<route>
 *     ttft:<le>  ttftSumMs          from a request's arrival to its answer's first token, alike
 *     refused:<code>                error answers
 *
 * It knows neither when they are written nor how they are shown. All counts are whole.
 */

/** Upper bounds of both histograms, ms; beyond the last, `le` is `inf`. */
export const gatewayBoundsMs = [
  5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 900_000,
] as const

export type GatewayCounts = Readonly<Record<string, number>>

/** @param errorCode of a refusal, null where the answer is none. */
export function answerCounts(
  route: string,
  status: number,
  durationMs: number,
  errorCode: string | null,
): GatewayCounts {
  const wholeMs = wholeOf(durationMs)
  return {
    [`requests:${route}:${status}`]: 1,
    [`duration:${route}:${boundOf(wholeMs)}`]: 1,
    [`durationSumMs:${route}`]: wholeMs,
    ...(errorCode === null ? {} : { [`refused:${errorCode}`]: 1 }),
  }
}

export function firstTokenCounts(ttftMs: number): GatewayCounts {
  const wholeMs = wholeOf(ttftMs)
  return { [`ttft:${boundOf(wholeMs)}`]: 1, ttftSumMs: wholeMs }
}

function wholeOf(ms: number): number {
  return Math.max(0, Math.round(ms))
}

function boundOf(ms: number): string {
  const bound = gatewayBoundsMs.find((upper) => ms <= upper)
  return bound === undefined ? 'inf' : String(bound)
}
