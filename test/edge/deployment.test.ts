/** What `npm start` runs is what a deployment uploads: the same entry, flags and bindings. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { unstable_readConfig as readConfig } from 'wrangler'
import { compatibility } from '../../local/edge-server.ts'

const config = readConfig({ config: join(import.meta.dirname, '../../wrangler.toml') })

describe('wrangler.toml', () => {
  it('has the compatibility date and flags of the local gateway', () => {
    expect(config.compatibility_date).toBe(compatibility.date)
    expect(config.compatibility_flags).toEqual(compatibility.flags)
  })

  it('binds what the Worker reads, and starts in production without a secret of its own', () => {
    expect(config.d1_databases).toMatchObject([{ binding: 'DB', migrations_dir: 'edge/d1/migrations' }])
    expect(config.durable_objects.bindings).toMatchObject([{ name: 'BROKER', class_name: 'Broker' }])
    expect(config.migrations).toMatchObject([{ new_sqlite_classes: ['Broker'] }])
    expect(config.triggers.crons).toEqual(['* * * * *'])
    expect(config.vars['AXLE_ENV']).toBe('production')
    expect(Object.keys(config.vars).filter((name) => ['AXLE_PEPPER', 'REDIS_URL'].includes(name))).toEqual([])
  })
})
