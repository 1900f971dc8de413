/** The stand-in for vitest on machines without it: what must fail fails, and is counted. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'

const folder = mkdtempSync(join(tmpdir(), 'axle-'))
afterAll(() => {
  rmSync(folder, { recursive: true })
})

function ran(text: string): { readonly status: number | null; readonly stdout: string } {
  const file = join(folder, 'some.test.ts')
  writeFileSync(file, text)
  return spawnSync(process.execPath, ['bench/device/kernel-tests.ts', file], { encoding: 'utf8', timeout: 20_000 })
}

it('passes what holds, in every row of a table', () => {
  const { status, stdout } = ran(`import { describe, expect, it } from 'vitest'
    describe.each(['a', 'b'])('%s', () => {
      it.each([[NaN], [-0]])('%s', (value) => {
        expect(new Float32Array([value])).toEqual(new Float32Array([value]))
        expect({ value, other: 1 }).toMatchObject({ value })
      })
    })`)
  expect(stdout).toContain('1 files, 4 passed, 0 failed')
  expect(status).toBe(0)
})

it.each([
  ['a zero of the other sign', 'expect(new Float32Array([0])).toEqual(new Float32Array([-0]))'],
  ['a NaN for a number', 'expect([NaN]).toEqual([1])'],
  ['an array of another type', 'expect(new Float32Array([1])).toEqual(new Uint32Array([1]))'],
  ['a matcher that it does not know', 'expect(1).toBeOne()'],
  ['another message', "expect(() => { throw new Error('this') }).toThrow('that')"],
  ['nothing thrown', 'expect(() => 1).toThrow()'],
  ['a promise that is rejected', "await Promise.reject(new Error('late'))"],
])('fails a test for %s', (_, body) => {
  const { status, stdout } = ran(`import { expect, it } from 'vitest'\nit('is wrong', async () => { ${body} })`)
  expect(stdout).toContain('FAILED some.test.ts: is wrong')
  expect(stdout).toContain('1 failed')
  expect(status).toBe(1)
})

it('fails tests whose preparation fails, and a file that cannot be read', () => {
  const prepared = ran(`import { beforeAll, it } from 'vitest'
    beforeAll(() => { throw new Error('no device') })
    it('needs it', () => {})`)
  expect(prepared.stdout).toContain('FAILED some.test.ts: needs it: no device')
  expect(prepared.status).toBe(1)
  expect(ran("import './nothing.ts'").status).toBe(1)
})
