/** Keys of local mode are made once, are kept private, and are never silently replaced. */
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseKey } from '../../contract/key-format.ts'
import { loadSecrets } from '../../local/secrets.ts'
import { temporaryFolder } from './temporary.ts'

describe('loadSecrets', () => {
  it('makes a tenant key and an admin key of the format, in a file for the owner alone', () => {
    const folder = temporaryFolder()
    const { tenantKey, adminKey } = loadSecrets(folder)
    expect(parseKey(tenantKey)?.kind).toBe('live')
    expect(parseKey(adminKey)?.kind).toBe('admin')
    expect(statSync(join(folder, 'secrets.json')).mode & 0o777).toBe(0o600)
  })

  it('gives the same ones at every start, others in every folder', () => {
    const folder = temporaryFolder()
    const first = loadSecrets(folder)
    expect(loadSecrets(folder)).toEqual(first)
    const other = Object.values(loadSecrets(temporaryFolder()))
    expect(Object.values(first).filter((secret) => other.includes(secret))).toEqual([])
  })

  it('takes permissions back that someone gave away', () => {
    const folder = temporaryFolder()
    loadSecrets(folder)
    chmodSync(join(folder, 'secrets.json'), 0o644)
    loadSecrets(folder)
    expect(statSync(join(folder, 'secrets.json')).mode & 0o777).toBe(0o600)
  })

  it.each(['', '{"tenantKey": "axle_live', '{}', 'null'])(
    'refuses a broken file and leaves it as it is: %j',
    (content) => {
      const path = join(temporaryFolder(), 'secrets.json')
      writeFileSync(path, content)
      expect(() => loadSecrets(join(path, '..'))).toThrow('cannot be read')
      expect(readFileSync(path, 'utf8')).toBe(content)
    },
  )
})
