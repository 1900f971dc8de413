/** Log probabilities on their way into the log. */
import { describe, expect, it } from 'vitest'
import { decodeLogEntry, encodeLogEntry, logProbMin } from '../../contract/event.ts'
import { chancesOf } from '../../gpu-worker/token-chances.ts'

const spell = (tokenId: number) => ({ token: `t${tokenId}` })

describe('chancesOf()', () => {
  it('keeps every value of f32 apart from every other, in no more digits than that takes', () => {
    for (const bits of [0xbf800000, 0xbf800001, 0xb4000001, 0xc1a3d70b, 0x80000001]) {
      const [logProb = NaN] = new Float32Array(Uint32Array.of(bits).buffer)
      const [chance] = chancesOf([{ tokenId: 1, logProb }], spell)
      expect(chance?.token).toBe('t1')
      expect(Math.fround(chance?.logProb ?? NaN)).toBe(logProb)
      expect(JSON.stringify(chance?.logProb).replaceAll(/e.*|[-.]/g, '').length).toBeLessThanOrEqual(10)
    }
  })

  it('tells what is as good as impossible as the least value, which JSON can hold', () => {
    const logProbs = [
      chancesOf(
        [-Infinity, -1e30, logProbMin, -0].map((logProb) => ({ tokenId: 1, logProb })),
        spell,
      ),
    ]
    const entry = { kind: 'token', choice: 0, index: 0, tokenIds: [1], channel: 'content', text: '', logProbs } as const
    const decoded = decodeLogEntry(encodeLogEntry(entry))
    expect(decoded.kind === 'token' && decoded.logProbs?.[0]?.map(({ logProb }) => logProb)).toEqual([
      logProbMin,
      logProbMin,
      logProbMin,
      0,
    ])
  })
})
