/** Query strings: both ways to write an array, and nothing that nobody reads. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { readQuery, textList, trueOrFalse, wholeNumber } from '../../edge/read-query.ts'

const schema = z.strictObject({
  ids: textList.optional(),
  'at[gte]': wholeNumber.optional(),
  whole: trueOrFalse.optional(),
})
const read = (query: string) => readQuery(`http://x/path?${query}`, schema)

describe('readQuery()', () => {
  it.each([
    ['', {}],
    ['ids[]=a&ids[]=b', { ids: ['a', 'b'] }],
    ['ids%5B%5D=a', { ids: ['a'] }],
    ['ids=a&ids=b', { ids: ['a', 'b'] }],
    ['ids=a', { ids: ['a'] }],
    ['ids=a&ids[]=b', { ids: ['a', 'b'] }],
    ['ids=', { ids: [''] }],
    ['at[gte]=0', { 'at[gte]': 0 }],
    ['at%5Bgte%5D=999999999999999', { 'at[gte]': 999_999_999_999_999 }],
    ['whole=false', { whole: false }],
  ])('reads ?%s', (query, fields) => {
    expect(read(query)).toEqual(fields)
  })

  it.each([
    ['at[gte]=', 'at[gte]'],
    ['at[gte]=-1', 'at[gte]'],
    ['at[gte]=1.5', 'at[gte]'],
    ['at[gte]=1e3', 'at[gte]'],
    ['at[gte]= 1', 'at[gte]'],
    ['at[gte]=1000000000000000', 'at[gte]'],
    ['at[gte]=1&at[gte]=2', 'at[gte]'],
    ['at[gte][]=1', 'at[gte]'],
    ['whole=1', 'whole'],
    ['whole=true&whole=true', 'whole'],
    [Array.from({ length: 101 }, () => 'ids=a').join('&'), 'ids'],
    ['nobody=1', 'nobody'],
    ['__proto__=1', '__proto__'],
    ['__proto__[]=1', '__proto__'],
    ['constructor=1', 'constructor'],
  ])('refuses ?%s and names the parameter', (query, param) => {
    expect(() => read(query)).toThrow(expect.objectContaining({ status: 400, param }))
    expect(Object.hasOwn(Object.prototype, 'nobody')).toBe(false)
  })
})
