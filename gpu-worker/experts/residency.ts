/**
 * Which experts of one layer lie in its slots, and who leaves when others are needed: policy alone.
 *
 * An expert's score is how often steps needed it, older steps counting less; the lowest leaves first. Experts are numbers
 * 0 … expertCount − 1, slots 0 … slotCount − 1. It never asks for what lies there already, and knows neither weights nor GPU.
 */
import { strict as assert } from 'node:assert'

export interface Load {
  readonly expert: number
  readonly slot: number
}

/** One turn of a layer's products: once `loads` are there, `experts` all lie in slots at the same time. */
export interface Round {
  readonly loads: readonly Load[]
  readonly experts: readonly Load[]
}

/**
 * A count is halved each time that so many experts have been needed as the layer has, and as many again: measured, too short a
 * memory forgets what a topic wants, too long a one what the last topic did.
 */
const HALF_LIFE_LAYERS = 2

export class Residency {
  /** Experts needed so far, a step's once each; and how many of them lay in a slot when they were. */
  needed = 0
  held = 0
  readonly #slotOf: Int32Array
  /** By slot; NO_ONE for an empty one. */
  readonly #expertIn: Int32Array
  readonly #scores: Float64Array

  constructor(expertCount: number, slotCount: number) {
    assert(slotCount >= 1 && slotCount <= expertCount, `Slots: expected 1 … ${expertCount}, got ${slotCount}`)
    this.#slotOf = new Int32Array(expertCount).fill(NO_ONE)
    this.#expertIn = new Int32Array(slotCount).fill(NO_ONE)
    this.#scores = new Float64Array(expertCount)
  }

  /**
   * The rounds of a step that needs these experts, each of them in exactly one round: as few rounds as the slots allow. They
   * are carried out in order.
   */
  plan(experts: ReadonlySet<number>): Round[] {
    this.#count(experts)
    const present = [...experts].filter((expert) => this.#slot(expert) !== NO_ONE)
    // The likelier it is wanted again, the later it comes, and the longer it stays.
    const missing = [...experts].filter((expert) => this.#slot(expert) === NO_ONE).toSorted(this.#byScore)
    this.needed += experts.size
    this.held += present.length
    const rounds: Round[] = []
    let served = present
    // In the first round those stay that it needs; behind it everybody has had his turn.
    let free = this.#slotsFree((expert) => !experts.has(expert))
    while (rounds.length === 0 || missing.length > 0) {
      const loads = missing.splice(0, free.length).map((expert, i) => this.#load(expert, free[i]))
      served.push(...loads.map(({ expert }) => expert))
      rounds.push({ loads, experts: served.map((expert) => ({ expert, slot: this.#slot(expert) })) })
      served = []
      free = this.#slotsFree(() => true)
    }
    return rounds
  }

  #count(experts: ReadonlySet<number>): void {
    const kept = 2 ** (-experts.size / (HALF_LIFE_LAYERS * this.#scores.length))
    for (const [expert, score] of this.#scores.entries()) {
      this.#scores[expert] = score * kept + Number(experts.has(expert))
    }
  }

  /** Empty slots, then those of experts that may leave, the lowest score first. */
  #slotsFree(mayLeave: (expert: number) => boolean): number[] {
    const slots = [...this.#expertIn.keys()]
    const empty = slots.filter((slot) => this.#expertIn[slot] === NO_ONE)
    const leaving = [...this.#expertIn]
      .filter((expert) => expert !== NO_ONE && mayLeave(expert))
      .toSorted(this.#byScore)
    return [...empty, ...leaving.map((expert) => this.#slot(expert))]
  }

  #load(expert: number, slot: number | undefined): Load {
    assert(slot !== undefined, 'A round loads no more experts than there are slots')
    const leaving = this.#expertIn[slot] ?? NO_ONE
    if (leaving !== NO_ONE) this.#slotOf[leaving] = NO_ONE
    this.#expertIn[slot] = expert
    this.#slotOf[expert] = slot
    return { expert, slot }
  }

  #slot(expert: number): number {
    const slot = this.#slotOf[expert]
    assert(slot !== undefined, `The layer has no expert ${expert}`)
    return slot
  }

  readonly #byScore = (left: number, right: number): number =>
    (this.#scores[left] ?? 0) - (this.#scores[right] ?? 0) || left - right
}

const NO_ONE = -1
