/**
 * A range of time as buckets of equal width, aligned to UTC, and pages of them.
 *
 *     start_time ──▼                                ▼── end_time
 *     │ bucket │ bucket │ bucket │ … │ bucket │ bucket │      whole: the first holds start_time, the last end_time − 1 s
 *     └──────── one page ────────┘   ▲── next_page
 *
 * All times in minutes since 1970 unless a name says otherwise. It knows no usage.
 */
import { AppError } from '../../contract/errors.ts'

export const bucketWidths = { '1m': 1, '1h': 60, '1d': 1_440 } as const
export type BucketWidth = keyof typeof bucketWidths

export interface BucketPage {
  readonly width: number
  readonly firstMinute: number
  readonly count: number
  /** Where the next page begins; null: there is none. */
  readonly nextMinute: number | null
}

export interface Bucket<Result> {
  readonly object: 'bucket'
  /** Unix seconds; end exclusive. */
  readonly start_time: number
  readonly end_time: number
  readonly results: readonly Result[]
}

export interface Page<Result> {
  readonly object: 'page'
  readonly data: readonly Bucket<Result>[]
  readonly has_more: boolean
  readonly next_page: string | null
}

/** @throws AppError 400 for a `page` that no answer to such a question has named. */
export function bucketPage(
  { startSeconds, endSeconds, width }: { startSeconds: number; endSeconds: number; width: number },
  countMax: number,
  page: string | undefined,
): BucketPage {
  const first = Math.floor(startSeconds / 60 / width) * width
  const end = Math.ceil(endSeconds / 60 / width) * width
  const firstMinute = page === undefined ? first : Number(/^page_(\d{1,12})$/.exec(page)?.[1] ?? Number.NaN)
  const isOurs = firstMinute % width === 0 && firstMinute >= first && (page === undefined || firstMinute < end)
  if (!isOurs) {
    throw new AppError('invalid_value', "Invalid value for 'page': expected the next_page of the answer before.", {
      param: 'page',
    })
  }
  const count = Math.max(0, Math.min(countMax, (end - firstMinute) / width))
  const behind = firstMinute + count * width
  return { width, firstMinute, count, nextMinute: behind < end ? behind : null }
}

/** The page's first buckets only, those before `minute`. */
export function cutPage(page: BucketPage, minute: number): BucketPage {
  return { ...page, count: (minute - page.firstMinute) / page.width, nextMinute: minute }
}

/** @param resultsOf by the bucket's first minute; what it does not hold is an empty bucket. */
export function pageOf<Result>(page: BucketPage, resultsOf: ReadonlyMap<number, readonly Result[]>): Page<Result> {
  const { firstMinute, width, count, nextMinute } = page
  return {
    object: 'page',
    data: Array.from({ length: count }, (_, index) => {
      const minute = firstMinute + index * width
      return {
        object: 'bucket',
        start_time: minute * 60,
        end_time: (minute + width) * 60,
        results: resultsOf.get(minute) ?? [],
      }
    }),
    has_more: nextMinute !== null,
    next_page: nextMinute === null ? null : `page_${nextMinute}`,
  }
}

/** One row a result, each with its bucket's times. */
export function rowsOf<Result extends object>({ data }: Page<Result>) {
  return data.flatMap(({ start_time, end_time, results }) => results.map((one) => ({ start_time, end_time, ...one })))
}
