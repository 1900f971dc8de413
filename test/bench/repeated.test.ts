/** Which part of a step a bench takes for its layers. */
import { expect, it } from 'vitest'
import { longestRepetition } from '../../bench/device/repeated.ts'

it('finds the layers of a step among its kernels, whatever stands before and behind them', () => {
  const names = ['embed', 'norm', 'a', 'b', 'x', 'a', 'c', 'b', 'y', 'a', 'c', 'b', 'y', 'a', 'c', 'b', 'y', 'head']
  expect(longestRepetition(names, 2)).toEqual({ start: 5, period: 4, repeats: 3 })
})

it('takes a layer whose first half is its second for one layer, where halves are too short to be one', () => {
  const names = ['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b']
  expect(longestRepetition(names, 1)).toEqual({ start: 0, period: 2, repeats: 4 })
  expect(longestRepetition(names, 3)).toEqual({ start: 0, period: 4, repeats: 2 })
})

it('finds nothing where nothing stands twice in a row', () => {
  expect(longestRepetition(['a', 'b', 'c', 'a', 'c', 'b'], 2)).toBeNull()
})
