/** The search behind `prove hygiene`: what it would overlook proves nothing. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { newKey } from '../../contract/key-format.ts'
import { newCanary, search, secretOf } from './hygiene/canaries.ts'

const canary = newCanary('prompt')
const found = (bytes: Buffer) => search([{ place: 'here', bytes }], [canary, newCanary('another')])
const finding = [{ canary: 'prompt', place: 'here' }]

describe('search()', () => {
  it('finds a text as it is, hexadecimal, and in JSON within JSON', () => {
    for (const text of [canary.text, Buffer.from(canary.text).toString('hex'), JSON.stringify(`"${canary.text}"`)])
      expect(found(Buffer.from(`a ${text} b`))).toEqual(finding)
  })

  it.each([0, 1, 2, 3, 4])('finds it in Base64 behind %i bytes and before others', (before) => {
    const bytes = Buffer.concat([randomBytes(before), Buffer.from(canary.text), randomBytes(7)])
    expect(found(Buffer.from(bytes.toString('base64')))).toEqual(finding)
  })

  it('finds nothing where nothing is', () => {
    expect(found(randomBytes(10_000))).toEqual([])
  })
})

describe('secretOf()', () => {
  it('is the part of a key that authenticates; its id may be told', () => {
    const key = newKey('live', randomBytes)
    const { text } = secretOf('key', key)
    expect(text).toHaveLength(32)
    expect(key).toContain(`_${text}_`)
    expect(search([{ place: 'log', bytes: Buffer.from(key.slice(0, 18)) }], [{ name: 'key', text }])).toEqual([])
  })
})
