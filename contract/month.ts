/**
 * The UTC month as a number, 202611, and its bounds: what a budget is for. `include/month.lua` has the same formula.
 *
 * It knows no clock and no money.
 */

export function monthOf(atMs: number): number {
  const at = new Date(atMs)
  return at.getUTCFullYear() * 100 + at.getUTCMonth() + 1
}

/** Unix ms: from the first of the month up to, and without, the first of the next. */
export function monthBounds(month: number): { readonly fromMs: number; readonly toMs: number } {
  const year = Math.floor(month / 100)
  const monthOfYear = month % 100
  return { fromMs: Date.UTC(year, monthOfYear - 1), toMs: Date.UTC(year, monthOfYear) }
}
