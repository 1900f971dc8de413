/** Sizes of memory as people write and read them. Knows nothing of what takes the memory. */

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

/** What `parseBytes` takes, for messages. */
export const byteSizeForms = 'bytes as 75161927680, 70GiB or 900MB'

/** Whole bytes of `75161927680`, `70GiB`, `1.5 GB`; null for anything else, nothing at all and a fraction of a byte. */
export function parseBytes(text: string): number | null {
  const [, digits = '', unit = ''] = /^(\d{1,16}(?:\.\d{1,6})?) ?([KMGT]i?B|B|)$/.exec(text) ?? []
  const bytes = Number(digits) * (UNITS[unit] ?? NaN)
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null
}

/** In the largest binary unit of which there is at least one: `999 B`, `1.50 MiB`, `292 GiB`. */
export function formatBytes(bytes: number): string {
  const [name = 'B', size = 1] =
    Object.entries(UNITS).findLast(([unit, each]) => unit.endsWith('iB') && bytes >= each) ?? []
  if (size === 1) return `${bytes} B`
  const value = bytes / size
  return `${value.toFixed(value < 10 ? 2 : value < 99.95 ? 1 : 0)} ${name}`
}
