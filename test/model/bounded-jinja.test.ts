/** A hostile chat template ends, soon, in bounded memory, and says which bound it met; an honest one is not disturbed. */
import { describe, expect, it } from 'vitest'
import { BoundError, parseJinja, renderJinja } from '../../gpu-worker/model/bounded-jinja.ts'

const msMax = 250
/** Parsing, one native operation that began within the time, and a busy machine. */
const slackMs = 2_500

function render(source: string, variables: Readonly<Record<string, unknown>> = {}): string {
  return renderJinja(parseJinja(source), variables, msMax)
}

/** A text of 4 Mi characters. */
const long = "{% set n = namespace(s='ab') %}{% for i in range(21) %}{% set n.s = n.s + n.s %}{% endfor %}"
const laughs = (nested: string): string =>
  `{% set n = namespace(l=['lol']) %}{% for i in range(40) %}{% set n.l = ${nested} %}{% endfor %}`

describe('renderJinja', () => {
  it.each<[what: string, source: string, bound: RegExp]>([
    [
      'nested loops',
      '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}',
      /longer than 250/,
    ],
    ['steps', '{% for a in range(99999) %}{{ [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] }}{% endfor %}', /takes/],
    ['a huge range', '{{ range(10 ** 9) }}', /a range is longer/],
    ['a range without steps', '{{ range(0, 1, 0) }}', /a range is longer/],
    [
      'a text that doubles',
      "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
      /makes more/,
    ],
    [
      'a list that doubles',
      '{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}',
      /a list is longer/,
    ],
    ['a list of itself twice, printed', `${laughs('[n.l, n.l]')}{{ n.l }}`, /makes more/],
    ['a list of itself twice, as JSON', `${laughs('[n.l, n.l]')}{{ n.l | tojson }}`, /makes more/],
    ['a mapping of itself twice, joined', `${laughs("{'a': n.l, 'b': n.l}")}{{ n.l ~ 'x' }}`, /makes more/],
    [
      'depth',
      '{% set n = namespace(l=[1]) %}{% for i in range(999) %}{% set n.l = [n.l] %}{% endfor %}',
      /nests deeper/,
    ],
    ['a namespace in itself', '{% set n = namespace() %}{% set n.a = n %}{{ n }}', /a namespace into a value/],
    ['a namespace in its list', '{% set n = namespace() %}{% set n.a = [n] %}{{ n }}', /a namespace into a value/],
    ['an indent', "{{ 'a\nb' | indent(500000000) }}", /makes more/],
    ['an indent by name', "{{ 'a\nb' | indent(width=500000000) }}", /makes more/],
    ['an indent of JSON', '{{ [1, 2] | tojson(indent=400000000) }}', /makes more/],
    ['separators of JSON', `${long}{{ range(100) | tojson(separators=(n.s, n.s)) }}`, /makes more/],
    ['a separator', `${long}{{ range(100000) | join(n.s) }}`, /makes more/],
    ['the replace filter', `${long}{{ n.s | replace('a', n.s) }}`, /makes more/],
    ['the replace method', `${long}{{ n.s.replace('a', n.s) }}`, /makes more/],
    ['the replace method, of nothing', `${long}{{ n.s['replace']('', n.s) }}`, /makes more/],
    ['a method named by parts', `${long}{% set k = 'repl' ~ 'ace' %}{{ n.s[k]('a', n.s) }}`, /makes more/],
    ['a method kept in a variable', `${long}{% set f = n.s.replace %}{{ f('a', n.s) }}`, /a method as a value/],
    ['such a method, named by parts', `${long}{% set k = 'replace' %}{% set f = n.s[k] %}`, /a method as a value/],
    ['arguments that are spread', `${long}{% set a = ['a', n.s] %}{{ n.s.replace(*a) }}`, /spreads the arguments/],
    ['a filter block', `${long}{% filter replace('a', n.s) %}{{ n.s }}{% endfilter %}`, /makes more/],
    ['a split', `${long}{{ n.s.split('a') }}`, /a list is longer/],
    [
      'a split into words',
      "{% set n = namespace(s='a ') %}{% for i in range(18) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s.split() }}",
      /a list is longer/,
    ],
    ['a search', `${long}{{ ('b' + n.s[:2000000]) in n.s }}`, /searches a long text|takes/],
    ['a split that searches', `${long}{{ n.s.split('b' + n.s[:2000000]) }}`, /searches a long text|takes/],
    [
      'what is made on the way',
      `${long}{% for i in range(100000) %}{% set x = n.s | upper %}{% endfor %}`,
      /on the way|takes/,
    ],
    [
      'what is kept',
      `${long}{% set n.k = [] %}{% for i in range(99) %}{% set n.k = n.k + [n.s | upper] %}{% endfor %}`,
      /makes more/,
    ],
    ['the date', "{{ strftime_now('%Y') }}", /asks for the date/],
  ])('ends at a bound, and names it: %s', (_, source, bound) => {
    const startMs = performance.now()
    expect(() => render(source)).toThrow(BoundError)
    expect(() => render(source)).toThrow(bound)
    expect(performance.now() - startMs).toBeLessThan(2 * (msMax + slackMs))
  })

  it.each([
    ['itself', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
    ['itself twice', '{% macro m(x) %}{{ m(x + 1) }}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}'],
  ])('ends a macro that calls %s', (_, source) => {
    expect(() => render(source)).toThrow(Error)
  })

  it.each([
    ['length', 'x'.repeat(200_000)],
    ['white space', `{{${' '.repeat(100_000)}`],
    ['parentheses', `{{ ${'('.repeat(60_000)}1${')'.repeat(60_000)} }}`],
    ['blocks', '{% if true %}'.repeat(5_000) + '{% endif %}'.repeat(4_000)],
    ['no end', '{{ a '.repeat(20_000)],
  ])('ends a source of too much %s', (_, source) => {
    const startMs = performance.now()
    expect(() => parseJinja(source)).toThrow(Error)
    expect(performance.now() - startMs).toBeLessThan(slackMs)
  })

  it.each<[source: string, text: string]>([
    ["{{ 'a-b-a' | replace('a', 'xy') }}{{ 'a-b'.replace('-', '') }}{{ 'aaa'.replace('a', 'b', 1) }}", 'xy-b-xyabbaa'],
    [
      "{{ 'a </t> b'.split('</t>')[-1] }}{{ 'a  b'.split() | join('+') }}{{ 'a,b,c'.split(',', 1) | join(';') }}",
      ' ba+ba;b,c',
    ],
    ["{{ 'a\nb' | indent }}{{ 'a\nb' | indent(2, true) }}{{ 'a\nb' | indent(width=1) }}", 'a\n    b  a\n  ba\n b'],
    [
      "{{ {'a': [1, 'é']} | tojson }}{{ [1] | tojson(indent=1) }}{{ ['é'] | tojson(ensure_ascii=true) }}",
      '{"a": [1, "é"]}[\n 1\n]["\\u00e9"]',
    ],
    ["{{ 'b' in 'abc' }}{{ 'z' not in 'abc' }}{{ 1 in [1, 2] }}{{ 'k' in {'k': 1} }}", 'truetruetruetrue'],
    ["{% filter upper %}a{{ 'b' }}{% endfilter %}{% filter replace('a', 'c') %}aa{% endfilter %}", 'ABcc'],
    [
      "{% set d = {'items': 1, 'get': 2} %}{{ d.items is defined }}{{ d['items'] }}{{ d.keys() | list | join }}",
      'true1itemsget',
    ],
    ["{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{{ loop.last }}{% endfor %}", 'a1true'],
    ['{% macro m(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}{{ m(1, y=3) }}', '1213'],
    ['{% set n = namespace(a=1) %}{% for i in [1, 2][::-1] %}{% set n.a = n.a ~ i %}{% endfor %}{{ n.a }}', '121'],
  ])('does what Jinja does: %s', (source, text) => {
    expect(render(source)).toBe(text)
  })

  it('renders the longest request there is', () => {
    const messages = Array.from({ length: 2_047 }, () => ({ role: 'user', content: 'x y\n'.repeat(500) }))
    const source =
      "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim + m.content.split('</t>')[-1] }}{% endfor %}"
    expect(renderJinja(parseJinja(source), { messages }, 10_000)).toHaveLength(2_047 * (6 + 1_999 + 2_000))
  })
})
