/**
 * One page of a list, as OpenAI's clients walk it: `limit`, `after`, `before` in, `first_id`, `last_id`, `has_more`
 * out.
 *
 * A cursor is an item's id, looked up within the same list: one of another list is no cursor here. Knows no resource.
 */
import { z } from 'zod'
import { AppError } from '../contract/errors.ts'
import { wholeNumber } from './read-query.ts'

const pageItemsMax = 100
const pageItemsUsual = 20

/** Query parameters that every list takes. */
export const pageParameters = {
  limit: wholeNumber.pipe(z.number().min(1).max(pageItemsMax)).default(pageItemsUsual),
  after: z.string().optional(),
}

export interface Listing {
  /** What a row holds, as SQL; `id` is among its names. */
  readonly columns: string
  readonly from: string
  /** Of the whole list, filters included, and what it binds. */
  readonly where: string
  readonly bindings: readonly (string | number)[]
  /** Columns that order the list and tell any two rows apart. */
  readonly order: readonly string[]
  readonly isDescending?: boolean
  /** SQL of an item's id. */
  readonly id: string
}

export interface PageQuery {
  readonly limit: number
  readonly after?: string | undefined
  readonly before?: string | undefined
}

/** @throws AppError invalid_value for a cursor that is not of this list. */
export async function listPage(
  db: D1Database,
  listing: Listing,
  query: PageQuery,
  itemOf: (row: Record<string, unknown>) => { readonly id: string },
): Promise<Response> {
  const { rows, hasMore } = await readPage(db, listing, query)
  return listResponse(rows.map(itemOf), hasMore)
}

/** @throws AppError invalid_value for a cursor that is not of this list. */
export async function readPage(
  db: D1Database,
  listing: Listing,
  query: PageQuery,
): Promise<{ readonly rows: readonly Record<string, unknown>[]; readonly hasMore: boolean }> {
  const { cursor, isBackward } = cursorOf(query)
  const isDescending = (listing.isDescending ?? false) !== isBackward
  const order = listing.order.join(', ')
  const place = `(${order}) ${isDescending ? '<' : '>'} (SELECT ${order} FROM ${listing.from} WHERE ${listing.where} AND ${listing.id} = ?)`
  const found = await db
    .prepare(
      `SELECT ${listing.columns} FROM ${listing.from} WHERE ${listing.where} ${cursor === null ? '' : `AND ${place}`}
       ORDER BY ${listing.order.map((column) => `${column} ${isDescending ? 'DESC' : 'ASC'}`).join(', ')} LIMIT ?`,
    )
    .bind(...listing.bindings, ...(cursor === null ? [] : [...listing.bindings, cursor]), query.limit + 1)
    .all()
  if (cursor !== null && found.results.length === 0)
    await requireCursor(db, listing, cursor, isBackward ? 'before' : 'after')
  const rows = found.results.slice(0, query.limit)
  return { rows: isBackward ? rows.toReversed() : rows, hasMore: found.results.length > query.limit }
}

export function listResponse(data: readonly { readonly id: string }[], hasMore: boolean): Response {
  const ids = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
  return Response.json({ object: 'list', data, ...ids, has_more: hasMore })
}

function cursorOf({ after, before }: PageQuery): { cursor: string | null; isBackward: boolean } {
  if (after !== undefined && before !== undefined) {
    throw new AppError('contradictory_parameters', "Send either 'after' or 'before'.", { param: 'before' })
  }
  return { cursor: after ?? before ?? null, isBackward: before !== undefined }
}

/** The last page of a list is empty, too: only a cursor that is not there is refused. */
async function requireCursor(db: D1Database, listing: Listing, cursor: string, param: string): Promise<void> {
  const found = await db
    .prepare(`SELECT 1 FROM ${listing.from} WHERE ${listing.where} AND ${listing.id} = ?`)
    .bind(...listing.bindings, cursor)
    .first()
  if (found === null) throw new AppError('invalid_value', 'The cursor is not an item of this list.', { param })
}
