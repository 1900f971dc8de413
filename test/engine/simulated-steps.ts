/** Promises about one step of a simulated life: what its samplers know, and that nothing is computed twice in it. */
import assert from 'node:assert/strict'
import type { SamplerRow } from '../../gpu-worker/engine/batch.ts'
import { contextHash, type FakeStep } from '../fake-runner.ts'
import type { Life } from './simulated-lives.ts'

/** Penalties know every token so far. */
export function checkPenalties({ request, expected }: Life, { index, penalties, stopTokenIds }: SamplerRow): void {
  const answerCounts = new Map<number, number>()
  for (const tokenId of expected.tokenIds.slice(0, index))
    answerCounts.set(tokenId, (answerCounts.get(tokenId) ?? 0) + 1)
  const seen = { promptTokens: new Set(request.promptTokenIds), answerCounts }
  const what = `${request.id} is penalised for another answer`
  assert.deepEqual(penalties, { ...request.sampling.penalties, ...seen }, what)
  assert.deepEqual(stopTokenIds, request.stopTokenIds)
}

/** Of those that may share a block at most one computes it: a step has no more prefills of it than strangers want it. */
export function checkComputedOnce({ batch, hashes }: FakeStep, lives: readonly Life[], blockTokens: number): void {
  const computed = new Map<string, number>()
  for (const [group, { start, tokenIds }] of batch.sequences.entries()) {
    // A single row may be a decode that ends a block like another's.
    if (tokenIds.length === 1) continue
    const end = start + tokenIds.length
    for (let edge = Math.ceil(start / blockTokens + 1) * blockTokens; edge <= end; edge += blockTokens) {
      const content = `${edge} ${hashes[group]?.[edge - 1 - start]}`
      computed.set(content, (computed.get(content) ?? 0) + 1)
    }
  }
  for (const [content, count] of computed) {
    if (count === 1) continue
    const [edge = 0, hash] = content.split(' ').map(Number)
    const sharers = lives.flatMap(({ request, submission, expected, answer, end }) => {
      const known = [...request.promptTokenIds, ...expected.tokenIds.slice(0, answer.length + 2)]
      if (submission !== 'accepted' || known.length < edge || contextHash(known.slice(0, edge)) !== hash) return []
      const admittedCount = request.promptTokenIds.length + (request.resumedTokenIds?.length ?? 0)
      const isShared = admittedCount > edge && request.promptLogprobCount === undefined && end === null
      return [isShared ? (request.tenantId ?? request.id) : request.id]
    })
    assert(count <= new Set(sharers).size, `${count} prefills of a step fill a block alike`)
  }
}
