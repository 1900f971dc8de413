/** `axle price` and `axle audit`: prices as people say them, and a log of who set them. */
import { describe, expect, it } from 'vitest'
import { audit } from '../../cli/audit.ts'
import { price } from '../../cli/price.ts'
import { tenant } from '../../cli/tenant.ts'
import { parseKey } from '../../contract/key-format.ts'
import { printedBy, terminalBench } from '../fixtures/terminal.ts'

const bench = terminalBench()

describe('axle price', () => {
  it('sets a price in dollars for a million tokens, to the sixth decimal', async () => {
    const given = ['--input', '0.0375', '--cached', '0.000001', '--output', '1.1', '--flex-percent', '40']
    const { out, exitCode } = await printedBy(price, 'set', 'm', ...given)
    expect(exitCode).toBeUndefined()
    expect(out).toMatch(/^MODEL +FROM .*\nm +\d{4}-.*Z +\$0\.0375 +\$0\.000001 +\$1\.1 +200% +40% +50%$/)
    const row = await bench.edge.database
      .prepare("SELECT input_micro, cached_input_micro, output_micro FROM prices WHERE model = 'm'")
      .first()
    expect(row).toEqual({ input_micro: 37_500, cached_input_micro: 1, output_micro: 1_100_000 })
  })

  it('charges cached tokens as others where no price of theirs is named, and takes a moment to come', async () => {
    const { exitCode } = await printedBy(price, 'set', 'later', '--input=2', '--output=3', '--from=2090-01-02')
    expect(exitCode).toBeUndefined()
    const { out } = await printedBy(price, 'list')
    expect(out).toMatch(/later +2090-01-02 00:00:00Z +\$2 +\$2 +\$3 /)
  })

  it.each([
    [['set', 'm', '--input', '1'], 'expected --output'],
    [
      ['set', 'm', '--input', '1', '--output', '0.0000001'],
      "--output: expected a number such as 1.5, with at most six decimals, got '0.0000001'",
    ],
    [['set', 'm', '--input', '1', '--output', '1', '--from', 'monday'], '--from: expected a moment'],
    [['set', 'm', '--input', '1', '--output', '1', '--from', '2020-01-01'], "'effective_from'"],
    [['set', '--input', '1', '--output', '1'], 'set: expected MODEL'],
  ])('refuses %j, naming what is wrong', async (args, message) => {
    const { err, exitCode } = await printedBy(price, ...args)
    expect(err).toContain(message)
    expect(exitCode).toBe(1)
  })
})

describe('axle audit', () => {
  it('tells who did what, when and from where, newest first, of one tenant where asked', async () => {
    const { out: id } = await printedBy(tenant, 'create', 'Audited', '--budget', '3')
    await printedBy(tenant, 'create', 'Other')
    const adminId = parseKey(bench.edge.adminKey)?.id
    const { out } = await printedBy(audit, '--tenant', id, '--since', '1h')
    const [header, ...rows] = out.split('\n')
    expect(header).toMatch(/^WHEN +WHAT +OF +WHO +FROM +ASKED FOR$/)
    expect(rows).toHaveLength(2)
    expect(rows[0]).toMatch(
      new RegExp(`Z +spend_limit.updated +${id} +${adminId} +127\\.0\\.0\\.1 .*"threshold_amount":300`),
    )
    expect(rows[1]).toMatch(new RegExp(`project.created +${id} .*Audited`))
    expect((await printedBy(audit, 'list', '--limit', '1')).out.split('\n')).toHaveLength(2)
    expect((await printedBy(audit, '--since', '2090-01-01')).out).toBe('Nothing was changed.')
    expect((await printedBy(audit, '--tenant', 'proj_typo')).err).toContain("there is no tenant 'proj_typo'")
    expect((await printedBy(audit, '--limit', '0')).err).toContain('expected at least 1')
  })
})
