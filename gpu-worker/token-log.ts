/**
 * Reads a job's token log back, as a worker needs it that takes the job over.
 *
 * It only reads; nobody else writes meanwhile, since the claim fenced every earlier writer.
 */
import type { Redis } from 'ioredis'
import { decodeStreamEntry, type TokenEntry } from '../contract/event.ts'
import type { JobId } from '../contract/ids.ts'
import { keys } from '../contract/keys.ts'
import { LogMismatch } from './answer-stream.ts'

export interface WrittenLog {
  readonly tokenEntries: readonly TokenEntry[]
  readonly tokenIds: readonly number[]
  /** As the last start entry says; 0 when no worker began. */
  readonly promptTokens: number
}

const entriesPerPage = 1_000

/** @throws LogMismatch when the log is not the `entryCount` entries that the record promises. */
export async function readTokenLog(redis: Redis, jobId: JobId, entryCount: number): Promise<WrittenLog> {
  const tokenEntries: TokenEntry[] = []
  let promptTokens = 0
  for (let sequence = 1; sequence <= entryCount;) {
    const page = await redis.xrange(keys.log(jobId), `${sequence}-0`, '+', 'COUNT', entriesPerPage)
    if (page.length === 0) throw new LogMismatch(`The log ends before entry ${sequence} of ${entryCount}`)
    for (const event of page.map(decodeStreamEntry)) {
      if (event.sequence !== sequence) throw new LogMismatch(`Expected entry ${sequence}, got ${event.sequence}`)
      if (event.entry.kind === 'token') tokenEntries.push(event.entry)
      if (event.entry.kind === 'start') promptTokens = event.entry.promptTokens
      sequence += 1
    }
  }
  return { tokenEntries, tokenIds: tokenEntries.flatMap((entry) => entry.tokenIds), promptTokens }
}
