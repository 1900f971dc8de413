/**
 * `axle verify` as its user meets it: exit code, table, JSON; and that it sees an error of every kind it reports.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exercisesByName, fidelityPage, type FidelityRow } from '../../cli/verify/fidelity.ts'
import type { PromptErrors } from '../../cli/verify/measure.ts'
import { roundedFrequencies } from '../../cli/verify/rounded-frequencies.ts'
import { parseModelConfig } from '../../gpu-worker/model/config.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../../gpu-worker/model/safetensors.ts'
import { rounded } from '../fixtures/stored-values.ts'

const root = join(import.meta.dirname, '../..')
const golden = join(root, 'test/goldens/yarn-fused-bf16')

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-verify-'))
})
afterAll(() => rm(dir, { recursive: true }))

async function axle(...args: string[]): Promise<{ exitCode: unknown; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [[exitCode], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { exitCode, stdout, stderr }
}

/** The golden's answers with some tensors changed, as a file. */
async function answersWith(changes: Readonly<Record<string, (data: Uint8Array) => void>>): Promise<string> {
  const file = await readSafetensors(join(golden, 'float32.safetensors'))
  const tensors: TensorData[] = []
  for (const info of file.tensors.values()) {
    const data = await file.read(info.name)
    changes[info.name]?.(data)
    tensors.push({ ...info, data })
  }
  await file.close()
  const path = join(dir, 'wrong.safetensors')
  await writeSafetensors(path, tensors)
  return path
}

/** Adds to the 32-bit word at `index`. */
function nudge(data: Uint8Array, index: number): void {
  const view = new DataView(data.buffer)
  view.setInt32(index * 4, view.getInt32(index * 4, true) + 1, true)
}

describe('axle verify', { timeout: 90_000 }, () => {
  it('prints a line a prompt and the verdict, and exits with 0 when all holds', async () => {
    const { exitCode, stdout } = await axle('verify', golden)
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/float32\.safetensors\nprofile exact, .+\n/)
    expect(stdout.match(/^ +[0-3] +\d+ +\d\.\de-\d+ +\d+ +\d\.\de-\d+ +0 +equal +equal$/gm)).toHaveLength(4)
    expect(stdout).toMatch(/^holds: worst NMSE \d\.\de-1[0-9]$/m)
  })

  it('says of kv16 the error that it judged, whatever follows another expert', async () => {
    const { exitCode, stdout } = await axle('verify', join(root, 'models/axk1-tiny'), '--profile', 'kv16')
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(
      /^holds: worst NMSE \d\.\de-[6-9]( up to the first position with other experts; after it .+)?$/m,
    )
  })

  it('sees a wrong logit, a wrong expert and a wrong greedy token, says where, and exits with 1', async () => {
    const wrong = await answersWith({
      'logits.2': (data) => new DataView(data.buffer).setFloat32((20 * 512 + 3) * 4, 5, true),
      'experts.3.2': (data) => nudge(data, 4 * 100),
      'greedy.1': (data) => nudge(data, 23),
    })
    const { exitCode, stdout } = await axle('verify', golden, '--expected', wrong)
    expect(exitCode).toBe(1)
    expect(stdout.match(/^prompt .+$/gm)?.slice(1)).toEqual([
      'prompt 1: the greedy answer differs',
      expect.stringMatching(/^prompt 2: NMSE \d\.\de-\d at position 20, expected ≤ 1\.0e-8$/),
      'prompt 3: other experts at 1 positions',
    ])
  })

  it('takes the checkpoint and the answers apart, a profile, a smaller binding limit; and speaks JSON', async () => {
    const answers = join(dir, 'answers.safetensors')
    await copyFile(join(golden, 'float32.safetensors'), answers)
    const options = ['--profile', 'kv16', '--binding-bytes', '65536', '--rows', '16', '--json']
    const { exitCode, stdout } = await axle('verify', '--model', golden, '--expected', answers, ...options)
    expect(exitCode).toBe(0)
    const spoken: unknown = JSON.parse(stdout)
    expect(spoken).toMatchObject({ profile: 'kv16', expected: answers, holds: true, problems: [] })
    expect(spoken).toHaveProperty('prompts.length', 4)
  })

  it('refuses what it does not understand in one line, and tells what it takes with --help', async () => {
    const cases: [args: string[], problem: RegExp][] = [
      [[], /expected one folder/],
      [[golden, golden], /expected one folder/],
      [[golden, '--profile', 'fast'], /--profile: expected exact or kv16 or matrix, got fast/],
      [[golden, '--rows', '0'], /--rows: expected a whole number/],
      [[join(dir, 'none')], /there is no such file/],
    ]
    for (const [args, stderr] of cases) {
      expect(await axle('verify', ...args)).toMatchObject({
        exitCode: 1,
        stdout: '',
        stderr: expect.stringMatching(stderr),
      })
    }
    expect(await axle('verify', '--help')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/--expected FILE/),
    })
  })
})

describe('rounded frequencies', () => {
  const json: unknown = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8'))
  const widths = { qk_nope_head_dim: 16, qk_rope_head_dim: 128, head_dim: 128, qk_head_dim: 144 }
  const config = parseModelConfig(Object.assign({}, json, widths))

  it.each(['bf16', 'f16', 'f32'] as const)('are the nearest %s, as stored weights are rounded', (type) => {
    expect(roundedFrequencies(type)(config)).toEqual(rounded(roundedFrequencies('f32')(config), type))
  })
})

describe('the page of fidelity', () => {
  const row: FidelityRow = {
    name: 'a-golden',
    exercises: 'what it is for',
    positions: 7,
    reference: 'transformers 1.2.3',
    exact: [result(1.5e-12)],
    kv16: [{ ...result(2e-7), routedElsewhere: 1, greedyEqual: false }],
    smallBindings: [result(1.5e-12)],
    frozen: null,
    problems: [],
  }
  const adapter = { vendor: 'v', architecture: 'a', device: 'd', description: 'a card', backend: 'vulkan', toggles: [] }

  it('has a line of numbers a checkpoint, names who computed them, and says what falls short', () => {
    const page = fidelityPage([row], adapter, new Date('2026-01-02T03:04:05Z'))
    expect(page).toContain(
      '| `a-golden` | 7 | **1.5e-12** | 7.5e-13 | 1.5e-12 | – | **2.0e-7** | 1 of 7 (2.0e-7) | equal, 1 of 1 differ | equal, equal |',
    )
    for (const fact of ['2026-01-02', 'a card', 'transformers 1.2.3', process.versions.node, 'Everything holds.']) {
      expect(page).toContain(fact)
    }
    expect(fidelityPage([{ ...row, problems: ['it is off'] }], adapter, new Date(0))).toContain(
      '- `a-golden`: it is off',
    )
  })

  it("reads what a golden exercises out of the goldens' own table", () => {
    const readme = '| `no` | x |\n| folder | what it exercises |\n|---|---|\n| `a-b` | one, `two` |\n| `c` | three |\n'
    expect(exercisesByName(readme)).toEqual([
      ['a-b', 'one, `two`'],
      ['c', 'three'],
    ])
  })
})

function result(nmse: number): PromptErrors {
  const worst = { nmse, position: 3 }
  const equal = { greedyEqual: true, chunkingsEqual: true, routedElsewhere: 0 }
  return { key: '0', tokens: 7, worst, meanNmse: nmse / 2, worstRoutedAlike: worst, ...equal }
}
