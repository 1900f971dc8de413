/**
 * Money: whole nano-USD, and prices in whole µUSD per million tokens. No fraction and no float sum ever stands for
 * money.
 *
 * It knows neither models nor tenants.
 */

/** µUSD per million tokens = pUSD a token; whole. $0.0375 a million is 37,500. */
export interface TokenPrice {
  readonly inputMicro: number
  readonly cachedInputMicro: number
  readonly outputMicro: number
}

export const freePrice: TokenPrice = { inputMicro: 0, cachedInputMicro: 0, outputMicro: 0 }

/** pUSD in a nano-USD. */
const picoPerNano = 1_000

/** Nano-USD of one line item, rounded up once; `include/quota.lua` has the same formula. */
export function costNano(tokens: number, priceMicro: number): number {
  return Math.ceil((tokens * priceMicro) / picoPerNano)
}

export const nanoPerUsd = 1_000_000_000
const nanoDigits = 9

/** USD as exact decimal text without needless zeros: 21,500 nano-USD is `0.0000215`. */
export function usdText(nano: number): string {
  const text = `${Math.floor(nano / nanoPerUsd)}.${String(nano % nanoPerUsd).padStart(nanoDigits, '0')}`
  return text.replace(/\.?0+$/, '')
}
