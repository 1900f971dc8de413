/** Addresses and ranges, both sides of each boundary. */
import { describe, expect, it } from 'vitest'
import { clientAddress, isRange, isWithin, networkOf } from '../../edge/client-address.ts'

describe('isWithin()', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.0', '203.0.113.0/24'],
    ['203.0.113.255', '203.0.113.0/24'],
    ['203.0.113.255', '203.0.113.9/24'],
    ['10.127.255.255', '10.0.0.0/9'],
    ['1.2.3.4', '0.0.0.0/0'],
    ['1.2.3.4', '::ffff:1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.0/24'],
    ['1.2.3.4', '::ffff:1.2.3.0/120'],
    ['2001:db8::1', '2001:DB8:0:0::1'],
    ['2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db8::/32'],
    ['::1', '::/0'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:0/112'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ])('%s is in %s', (address, range) => {
    expect(isWithin(address, ['192.0.2.1', range])).toBe(true)
  })

  it.each([
    ['203.0.112.255', '203.0.113.0/24'],
    ['203.0.114.0', '203.0.113.0/24'],
    ['10.128.0.0', '10.0.0.0/9'],
    ['203.0.113.8', '203.0.113.7'],
    ['2001:db9::', '2001:db8::/32'],
    ['1.2.3.4', '::/0'],
    ['::1.2.3.4', '1.2.3.4'],
    ['::1', '0.0.0.0/0'],
    ['nonsense', '0.0.0.0/0'],
    ['', '0.0.0.0/0'],
    ['1.2.3.4', 'nonsense'],
  ])('%s is not in %s', (address, range) => {
    expect(isWithin(address, [range])).toBe(false)
  })

  it('an empty list holds nothing', () => {
    expect(isWithin('127.0.0.1', [])).toBe(false)
  })
})

const noRanges = [
  ['1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', '1.2.3.4/33', '1.2.3.4/-1', '1.2.3.4/', '1.2.3.4/8/8', '/8'],
  ['1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':::', '12345::', 'g::', '::/129', '::1%eth0', '1.2.3.4::'],
  ['::ffff:1.2.3.4/95', '::ffff:1.2.3.256', '1:2:3:4:5:6:7::8', ' 1.2.3.4', '1.2.3.4\0', '1e1.0.0.1'],
]
it.each(noRanges.flat())('%j is no range', (text) => {
  expect(isRange(text)).toBe(false)
})

describe('networkOf()', () => {
  it('counts an IPv6 client by its /64, an IPv4 client by itself', () => {
    expect(networkOf('2001:db8:1:2:3::4')).toBe(networkOf('2001:db8:1:2::ffff'))
    expect(networkOf('2001:db8:1:2::1')).not.toBe(networkOf('2001:db8:1:3::1'))
    expect(networkOf('1.2.3.4')).not.toBe(networkOf('1.2.3.5'))
    expect(networkOf('::ffff:1.2.3.4')).not.toBe(networkOf('::ffff:1.2.3.5'))
  })
})

describe('clientAddress()', () => {
  it('is what the platform saw; without it nobody, but on this machine the machine itself', () => {
    const request = new Request('http://x/', { headers: { 'x-forwarded-for': '6.6.6.6' } })
    expect(clientAddress(request, 'production')).toBe(null)
    expect(clientAddress(request, 'local')).toBe('127.0.0.1')
    request.headers.set('cf-connecting-ip', '203.0.113.7')
    expect(clientAddress(request, 'production')).toBe('203.0.113.7')
  })
})
