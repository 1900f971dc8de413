/** `npm run bench`: what it cannot do it says, with a way out and without a stack. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const main = join(import.meta.dirname, '../../bench/main.ts')

function bench(...words: string[]) {
  const { status, stderr } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' })
  return { status, stderr }
}

it.each([
  ['an unknown option', ['peers', '--fast'], "Unknown option '--fast'"],
  ['an option with a value', ['peers', '--json=no'], "Option '--json' does not take an argument"],
  ['an unknown bench', ['speed'], 'There is no bench called speed.'],
  ['a name that every object has', ['constructor'], 'There is no bench called constructor.'],
])('%s: exit code 2, and how to use it', (_, words, message) => {
  const { status, stderr } = bench(...words)
  expect(stderr).toContain(message)
  expect(stderr).toContain('Usage: npm run bench -- NAME')
  expect(stderr).not.toContain('    at ')
  expect(status).toBe(2)
})
