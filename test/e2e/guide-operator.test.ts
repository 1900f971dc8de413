/** docs/guide-operator.md does what it says: each block as written, in order, on a data directory of its own. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../local/ports.ts'
import { patternOf, stepsOf, Terminal } from '../fixtures/guide.ts'

const root = join(import.meta.dirname, '..', '..')
const guide = readFileSync(join(root, 'docs', 'guide-operator.md'), 'utf8')
const linesMax = 250
let folder = ''
let terminal: Terminal

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'axle-guide-'))
  const { REDIS_URL: _redis, AXLE_URL: _url, AXLE_ADMIN_KEY: _key, ...inherited } = process.env
  const env = { ...inherited, AXLE_DATA_DIR: join(folder, 'data'), AXLE_PORT: String(await freePort()) }
  terminal = new Terminal(folder, { cwd: root, env })
})
afterAll(async () => {
  await terminal.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('docs/guide-operator.md', () => {
  const steps = stepsOf(guide)

  it('is short enough to be followed, and says what most of its blocks print', () => {
    expect(guide.trimEnd().split('\n').length).toBeLessThanOrEqual(linesMax)
    expect(steps.filter(({ expected }) => expected !== null).length).toBeGreaterThanOrEqual(steps.length - 1)
  })

  it.each(steps)('does as it says: $title', async ({ script, expected }) => {
    expect(await terminal.run(script)).toEqual({
      output: expect.stringMatching(patternOf(expected ?? '…')),
      failures: '',
    })
  })
})

describe('what runs a guide', () => {
  it('sees a command that fails, wherever in its block it stands', async () => {
    const { output, failures } = await terminal.run('echo before\nls /no/such/folder\necho after\n')
    expect(output).toBe('before\nafter\n')
    expect(failures).toMatch(/^ls \/no\/such\/folder;\n.*No such file/)
  })

  it('sees a line too many, one too few and another word', () => {
    const pattern = patternOf('a  …\n…\nd\n')
    expect(['a b\nd\n', 'a   b\nc\nc\nd\n'].every((output) => pattern.test(output))).toBe(true)
    expect(['a b\n', 'a b\nd\ne\n', 'x b\nd\n'].some((output) => pattern.test(output))).toBe(false)
  })

  it('refuses a block that would be passed over in silence', () => {
    expect(() => stepsOf('## A\n```bash\nls\n```\n')).toThrow('a block of kind bash under A')
    expect(() => stepsOf('## A\n```sh\nls\n```\n```text\na\n```\n```text\nb\n```\n')).toThrow('of kind text')
  })
})
