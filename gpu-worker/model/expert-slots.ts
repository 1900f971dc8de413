/**
 * How many slots a layer has for its routed experts, as an operator says it and as a model of so many experts has it.
 *
 * Knows nothing of who lies in them.
 */

/** So many of a layer's experts have a slot, or such a share of them: 96, '50%'. */
export type SlotsAsked = number | `${number}%`

/** Slots a layer; null: one for each expert, all are resident. */
export type ExpertSlots = number | null

/** What `parseSlots` takes, for messages. */
export const slotsForms = 'a number of experts a layer, or a share of them, as 96 or 50%'

/** Null for anything else, and for less than one slot or more than all. */
export function parseSlots(text: string): SlotsAsked | null {
  const [, digits = '', percent] = /^(\d{1,5}(?:\.\d{1,3})?)(%?)$/.exec(text) ?? []
  const value = Number(digits)
  if (digits === '' || value === 0) return null
  if (percent === '%') return value <= 100 ? `${value}%` : null
  return Number.isInteger(value) ? value : null
}

/** Throws a RangeError for a number that no operator may give. */
export function slotsOf(asked: SlotsAsked, routedExpertCount: number): ExpertSlots {
  const slots = typeof asked === 'number' ? asked : Math.ceil((Number(asked.slice(0, -1)) * routedExpertCount) / 100)
  if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`Expert slots: expected ${slotsForms}, got ${asked}`)
  return slots < routedExpertCount ? slots : null
}
