/**
 * From where a request comes, and whether that lies in a list of addresses and ranges: IPv4, IPv6, CIDR.
 *
 * An IPv4 address written as an IPv6 one (`::ffff:1.2.3.4`) is the IPv4 address. It knows no key.
 */

/** The platform overwrites it with what it saw. On this machine nobody sets it, and only this machine can call. */
const addressHeader = 'cf-connecting-ip'
const loopback = '127.0.0.1'

interface Address {
  readonly bits: 32 | 128
  readonly value: bigint
}

/** Null: not known, and then no allow-list holds it. */
export function clientAddress(request: Request, environment: 'local' | 'production'): string | null {
  return request.headers.get(addressHeader) ?? (environment === 'local' ? loopback : null)
}

/** A range that cannot be read holds nothing. */
export function isWithin(address: string, ranges: readonly string[]): boolean {
  const parsed = parseAddress(address)
  if (parsed === null) return false
  return ranges.some((text) => {
    const range = parseRange(text)
    return range !== null && range.bits === parsed.bits && prefixOf(parsed, range.prefixBits) === range.prefix
  })
}

export function isRange(text: string): boolean {
  return parseRange(text) !== null
}

/** Whom to count with whom: an IPv6 network is handed out as a /64, so its addresses are one client's. */
export function networkOf(address: string): string {
  const parsed = parseAddress(address)
  return parsed?.bits === 128 ? `${prefixOf(parsed, 64).toString(16)}/64` : address
}

function parseRange(text: string): { bits: number; prefixBits: number; prefix: bigint } | null {
  const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text)
  const address = parseAddress(match?.[1] ?? '')
  if (address === null) return null
  // The length of a mapped address' prefix counts the 96 bits before it, too.
  const writtenBits = text.includes(':') ? 128 : 32
  const prefixBits = Number(match?.[2] ?? writtenBits) - (writtenBits - address.bits)
  if (prefixBits < 0 || prefixBits > address.bits) return null
  return { bits: address.bits, prefixBits, prefix: prefixOf(address, prefixBits) }
}

function prefixOf({ bits, value }: Address, prefixBits: number): bigint {
  return value >> BigInt(bits - prefixBits)
}

function parseAddress(text: string): Address | null {
  if (!text.includes(':')) return parseIpv4(text)
  // A trailing IPv4 part stands for the last two groups.
  const ipv4Text = /[^:]*\.[^:]*$/.exec(text)?.[0]
  const ipv4 = ipv4Text === undefined ? null : parseIpv4(ipv4Text)
  if (ipv4Text !== undefined && ipv4 === null) return null
  const tail = ipv4 === null ? '' : `${(ipv4.value >> 16n).toString(16)}:${(ipv4.value & 0xffffn).toString(16)}`
  const value = parseIpv6(text.slice(0, text.length - (ipv4Text?.length ?? 0)) + tail)
  if (value === null) return null
  return value >> 32n === 0xffffn ? { bits: 32, value: value & 0xffffffffn } : { bits: 128, value }
}

function parseIpv4(text: string): Address | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return null
  return { bits: 32, value: parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n) }
}

/** Eight groups, of which one run may be left out as `::`. */
function parseIpv6(text: string): bigint | null {
  const [head = '', tail, ...more] = text.split('::')
  if (more.length > 0) return null
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = 8 - before.length - after.length
  if (tail === undefined ? missing !== 0 : missing < 1) return null
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after]
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return null
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}
