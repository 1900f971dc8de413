/** The text that a scraper gets: judged by a parser of its own. */
import { describe, expect, it } from 'vitest'
import { renderMetrics } from '../../workers/exposition.ts'
import { parseExposition } from '../fixtures/exposition.ts'

describe('renderMetrics()', () => {
  it('writes gauges and counters with their labels', () => {
    const text = renderMetrics([
      { name: 'up', help: 'Whether.', kind: 'gauge', samples: [{ labels: {}, value: 1 }] },
      { name: 'n_total', help: 'How many.', kind: 'counter', samples: [{ labels: { a: 'x', b: 'y' }, value: 2.5 }] },
    ])
    expect(text).toBe(
      '# HELP up Whether.\n# TYPE up gauge\nup 1\n# HELP n_total How many.\n# TYPE n_total counter\nn_total{a="x",b="y"} 2.5\n',
    )
    expect(parseExposition(text).get('n_total')?.samples).toEqual(new Map([['n_total{a="x",b="y"}', 2.5]]))
  })

  it('makes cumulative buckets of apart ones, +Inf the count', () => {
    const samples = [{ labels: { w: '1' }, bounds: [0.5, 1], counts: [2, 0, 3], sum: 9.5 }]
    const text = renderMetrics([{ name: 't', help: 'T.', kind: 'histogram', samples }])
    expect([...(parseExposition(text).get('t')?.samples ?? [])]).toEqual([
      ['t_bucket{w="1",le="0.5"}', 2],
      ['t_bucket{w="1",le="1"}', 2],
      ['t_bucket{w="1",le="+Inf"}', 5],
      ['t_sum{w="1"}', 9.5],
      ['t_count{w="1"}', 5],
    ])
  })

  it('leaves out a family without samples', () => {
    expect(renderMetrics([{ name: 'x', help: 'X.', kind: 'gauge', samples: [] }])).toBe('')
  })

  it('escapes what a label may hold, so that none can end its line', () => {
    const labels = { a: 'a"b\\c\nd' }
    const text = renderMetrics([{ name: 'x', help: 'X.', kind: 'gauge', samples: [{ labels, value: 1 }] }])
    expect(text.split('\n')[2]).toBe('x{a="a\\"b\\\\c\\nd"} 1')
    expect(() => parseExposition(text)).not.toThrow()
  })
})

describe('parseExposition(), the judge,', () => {
  const head = '# HELP h H.\n# TYPE h histogram\n'
  it.each([
    ['a sample of no family', 'x 1\n'],
    ['a family without help', '# TYPE x gauge\nx 1\n'],
    ['a counter that is not called one', '# HELP x X.\n# TYPE x counter\nx 1\n'],
    ['a series twice', '# HELP x X.\n# TYPE x gauge\nx 1\nx 2\n'],
    ['a value that is none', '# HELP x X.\n# TYPE x gauge\nx NaN\n'],
    ['buckets that shrink', `${head}h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n`],
    ['buckets without an end', `${head}h_bucket{le="1"} 2\nh_sum 1\nh_count 2\n`],
    ['a count of its own', `${head}h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 2\nh_sum 1\nh_count 3\n`],
    ['an open line', '# HELP x X.\n# TYPE x gauge\nx 1'],
  ])('refuses %s', (_name, text) => {
    expect(() => parseExposition(text)).toThrow(TypeError)
  })
})
