/** What a person may write for a size of memory, and what they read. */
import { describe, expect, it } from 'vitest'
import { formatBytes, parseBytes } from '../../gpu-worker/model/byte-size.ts'

describe('parseBytes', () => {
  it.each([
    ['1', 1],
    ['75161927680', 75161927680],
    ['70GiB', 70 * 2 ** 30],
    ['70 GiB', 70 * 2 ** 30],
    ['900MB', 900e6],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['0.1 GB', 1e8],
    ['8B', 8],
    ['2TiB', 2 ** 41],
  ])('takes %s', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes)
  })

  // oxfmt-ignore
  it.each([
    '', ' ', '0', '0GiB', '-1', '+1', '1e9', '0x10', 'GiB', '70gib', '70G', '70Gi', '70  GiB', ' 70GiB', '70GiB ',
    '70,5GiB', '1_000', '1.', '.5GiB', '0.5', '1.0000001KB', 'NaN', 'Infinity', '9999999999999999TiB', '70GiB!',
  ])("refuses '%s'", (text) => {
    expect(parseBytes(text)).toBeNull()
  })
})

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.00 KiB'],
  [1.5 * 2 ** 20, '1.50 MiB'],
  [10 * 2 ** 30, '10.0 GiB'],
  [99.96 * 2 ** 30, '100 GiB'],
  [292e9, '272 GiB'],
  [3 * 2 ** 40, '3.00 TiB'],
])('formatBytes(%i) is %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text)
})
