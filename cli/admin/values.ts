/**
 * Values as people type and read them at a terminal: counts, money, lengths of time, lists, moments.
 *
 * It knows no option and no resource; what is not one of these is refused with what it may be.
 */
import type { Call } from './command.ts'

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** The options given, as fields of a body: `fieldOf` of each present one, under the API's name. */
export function fieldsOf(
  call: Call,
  fields: Readonly<Record<string, readonly [field: string, read: (text: string, option: string) => unknown]>>,
): Record<string, unknown> {
  const entries = Object.entries(fields).flatMap(([option, [field, read]]) => {
    const given = call.option(option)
    return given === undefined ? [] : [[field, read(given, `--${option}`)] as const]
  })
  return Object.fromEntries(entries)
}

export function text(value: string): string {
  return value
}

/** `1000`, `1,000`, `10k`, `2M`. */
export function count(value: string, option: string): number {
  const match = /^(\d{1,3}(?:,\d{3})+|\d{1,15})([kM]?)$/.exec(value)
  if (match === null) throw new TypeError(`${option}: expected a whole number such as 600, 10k or 2M, got '${value}'`)
  const factor = match[2] === 'k' ? 1_000 : match[2] === 'M' ? 1_000_000 : 1
  return Number(match[1]?.replaceAll(',', '')) * factor
}

export function decimal(value: string, option: string): number {
  if (!/^\d{1,9}(\.\d{1,6})?$/.test(value))
    throw new TypeError(`${option}: expected a number such as 1.5, with at most six decimals, got '${value}'`)
  return Number(value)
}

/** US cents of `25`, `25.50` or `$25.50`. */
export function cents(value: string, option: string): number {
  const match = /^\$?(\d{1,9})(?:\.(\d{2}))?$/.exec(value)
  if (match === null) throw new TypeError(`${option}: expected US dollars such as 25 or 25.50, got '${value}'`)
  return Number(match[1]) * 100 + Number(match[2] ?? 0)
}

/** Seconds of `90d`, `24h`, `30m` or `45s`; `0` is none. */
export function duration(value: string, option: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(value)
  if (match === null && value !== '0')
    throw new TypeError(`${option}: expected a time such as 90d, 24h, 30m or 0, got '${value}'`)
  return match === null ? 0 : Number(match[1]) * (unitSeconds[match[2] ?? 's'] ?? 1)
}

/** `a,b` → `['a', 'b']`. */
export function names(value: string, option: string): string[] {
  const list = value.split(',').map((name) => name.trim())
  if (list.includes('')) throw new TypeError(`${option}: expected names with commas between them, got '${value}'`)
  return list
}

/** `any` lifts a restriction. */
export function namesOrAny(value: string, option: string): string[] | null {
  return value === 'any' ? null : names(value, option)
}

/** `never` lifts an end. */
export function durationOrNever(value: string, option: string): number | null {
  return value === 'never' ? null : duration(value, option)
}

/** Unix seconds of `24h` (ago), `2026-11-24` or `2026-11-24T10:00:00Z`. */
export function since(value: string, option: string, nowMs: number): number {
  const atMs = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(value) ? Date.parse(value) : Number.NaN
  if (!Number.isNaN(atMs)) return Math.floor(atMs / 1_000)
  if (!/^\d+[smhd]$/.test(value))
    throw new TypeError(`${option}: expected 24h (ago), 2026-11-24 or 2026-11-24T10:00:00Z, got '${value}'`)
  return Math.floor(nowMs / 1_000) - duration(value, option)
}

export function moment(seconds: number | null): string {
  return seconds === null ? '-' : new Date(seconds * 1_000).toISOString().replace('T', ' ').replace('.000Z', 'Z')
}

/** At least cents, and no digit lost of what was spent. */
export function usd(amount: number | null): string {
  if (amount === null) return 'unknown for now'
  const digits = amount.toFixed(9).replace(/0{1,7}$/, '')
  return `$${digits}`
}

export function listed(items: readonly string[] | null, none: string): string {
  return items === null || items.length === 0 ? none : items.join(',')
}
