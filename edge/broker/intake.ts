/**
 * What stands between an order and a job: what it may ask for, what it costs now, and `admit`, asked again where the
 * tenant's spend had to be looked up first.
 *
 * It knows no reader and no queue.
 */
import type { Admission, AdmitResult } from '../../contract/admission.ts'
import type { JobId } from '../../contract/ids.ts'
import { admissionOf, entitle } from './admission.ts'
import type { FleetState } from './fleet.ts'
import { Prices } from './prices.ts'
import type { Order } from './protocol.ts'
import type { RedisLink } from './redis-link.ts'
import { seedSpend } from './spend.ts'

export interface IntakeOptions {
  readonly link: RedisLink
  readonly db: D1Database
  readonly shard: number
  readonly laneCount: number
  /** Whether this job was admitted is not known, and nobody can ask for it again. */
  readonly onLost: (jobId: JobId) => void
}

export class Intake {
  readonly #options: IntakeOptions
  readonly #prices = new Prices()
  /** Tenants whose month's spend is being looked up. */
  readonly #seeding = new Map<string, Promise<void>>()

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** @throws AppError for an order that may not be, and queue_unavailable while prices are not known. */
  async admissionOf(order: Order, fleet: FleetState): Promise<Admission> {
    const { db, shard, laneCount } = this.#options
    const entitlement = entitle(order, fleet.model)
    const price = await this.#prices.of(db, entitlement.model.id, entitlement.tier, Date.now())
    return admissionOf(order, entitlement, price, fleet.load, { shard, laneCount, random })
  }

  /** @throws AppError queue_unavailable. */
  async admit(admission: Admission): Promise<AdmitResult> {
    const result = await this.#ask(admission)
    // A budget whose month is not known to Redis is kept once it is.
    if (result.kind !== 'budget-unknown') return result
    await this.#seed(admission.tenantId, result.month)
    return this.#ask(admission)
  }

  async #ask(admission: Admission): Promise<AdmitResult> {
    try {
      return await this.#options.link.run(({ scripts }) => scripts.admit(admission))
    } catch (error) {
      if (admission.idempotency === null) this.#options.onLost(admission.jobId)
      throw error
    }
  }

  #seed(tenantId: string, month: number): Promise<void> {
    const known = this.#seeding.get(tenantId)
    if (known !== undefined) return known
    const { link, db } = this.#options
    const seeding = link
      .run((connection) => seedSpend(connection, db, tenantId, month))
      .finally(() => this.#seeding.delete(tenantId))
    this.#seeding.set(tenantId, seeding)
    return seeding
  }
}

function random(bytes: Uint8Array): Uint8Array {
  return crypto.getRandomValues(bytes)
}
