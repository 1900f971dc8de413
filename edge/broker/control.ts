/**
 * What a Broker does for the gateway besides jobs: revocations, usage rows, spend, counters. One command or two each.
 *
 * It knows neither who asks nor what for.
 */
import type { Redis } from 'ioredis'
import { keys } from '../../contract/keys.ts'
import { logError } from '../log.ts'
import { decodeUsageRow, type UsageRow } from '../usage/usage-row.ts'
import type { Control, ControlAnswer } from './protocol.ts'

export async function obey(redis: Redis, control: Control): Promise<ControlAnswer<Control['kind']>> {
  switch (control.kind) {
    case 'revoke':
      if (control.ids.length > 0) await redis.sadd(keys.revoked, ...control.ids)
      return {}
    case 'forget-revoked':
      if (control.ids.length > 0) await redis.srem(keys.revoked, ...control.ids)
      return {}
    case 'is-revoked': {
      const marks = control.ids.length === 0 ? [] : await redis.smismember(keys.revoked, ...control.ids)
      return { revoked: marks.includes(1) }
    }
    case 'usage-page':
      return { rows: await usagePage(redis, control.rowsMax) }
    case 'usage-ack':
      if (control.streamIds.length > 0) await redis.xdel(keys.usage, ...control.streamIds)
      return {}
    case 'spend':
      return spendOf(redis, control.tenantId)
    case 'count': {
      const pipeline = redis.pipeline()
      for (const [name, added] of Object.entries(control.counters)) pipeline.hincrby(keys.gateway, name, added)
      await pipeline.exec()
      return {}
    }
    default:
      return control satisfies never
  }
}

/** What is reserved counts only within the cell's generation, as in the scripts. */
async function spendOf(redis: Redis, tenantId: string): Promise<ControlAnswer<'spend'>> {
  const fields = ['month', 'spentNano', 'reservedNano', 'generation'] as const
  const [[month, spentNano, reservedNano, ofQuota], ofCell] = await Promise.all([
    redis.hmget(keys.quota(tenantId), ...fields),
    redis.hget(keys.cell, 'generation'),
  ])
  return {
    month: Number(month),
    spentNano: Number(spentNano),
    reservedNano: ofQuota === ofCell ? Number(reservedNano) : 0,
  }
}

/** A row that cannot be read is set aside whole, by its id in the log, so that it hides no other. */
async function usagePage(redis: Redis, rowsMax: number): Promise<UsageRow[]> {
  const rows: UsageRow[] = []
  for (const [streamId, flat] of await redis.xrange(keys.usage, '-', '+', 'COUNT', rowsMax)) {
    try {
      rows.push(decodeUsageRow(streamId, flat))
    } catch (error) {
      logError('usage-row-unreadable', error, { streamId })
      await redis
        .multi()
        .xadd(keys.unreadableUsage, '*', ...flat)
        .xdel(keys.usage, streamId)
        .exec()
    }
  }
  return rows
}
