/**
 * `axle logits` as its user meets it: a process of its own, its exit code, what it prints and what it writes.
 *
 * Float32 truth is `test/model`'s; here the file must hold it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../gpu-worker/model/safetensors.ts'
import { openGolden, worstNmse } from '../fixtures/golden.ts'

const root = join(import.meta.dirname, '../..')
const tiny = join(root, 'models/axk1-tiny')
const goldens = join(root, 'test/goldens')

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-logits-'))
})
afterAll(() => rm(dir, { recursive: true }))

interface Finished {
  readonly exitCode: unknown
  readonly stdout: string
  readonly stderr: string
}

async function axle(...args: string[]): Promise<Finished> {
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [[exitCode], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { exitCode, stdout, stderr }
}

async function idsFile(name: string, ids: readonly number[], type: 'i32' | 'f32' = 'i32'): Promise<string> {
  const path = join(dir, `${name}.safetensors`)
  const data = new Uint8Array(Int32Array.from(ids).buffer)
  await writeSafetensors(path, [{ name: 'ids.a', type, shape: [ids.length], data }])
  return path
}

describe('axle logits', { timeout: 90_000 }, () => {
  it.each([
    { name: 'axk1-tiny', model: tiny, truth: 'expected.safetensors', rows: '256' },
    { name: 'per-expert-f32', model: join(goldens, 'per-expert-f32'), truth: 'float32.safetensors', rows: '5' },
    { name: 'int4-zero-points', model: join(goldens, 'int4-zero-points'), truth: 'float32.safetensors', rows: '33' },
    { name: 'fp8-blocks-128', model: join(goldens, 'fp8-blocks-128'), truth: 'float32.safetensors', rows: '256' },
  ])("writes $name's logits of every prompt, $rows rows a step, and nothing on stdout", async (golden) => {
    const { name, model, truth, rows } = golden
    const out = join(dir, `${name}.out`)
    const finished = await axle(
      'logits',
      '--model',
      model,
      '--ids-file',
      join(model, truth),
      '--out',
      out,
      '--rows',
      rows,
    )
    expect(finished).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: expect.stringMatching(/^adapter: .+toggles: none/m),
    })
    const [wanted, got] = [await openGolden(model, truth), await readSafetensors(out)]
    expect([...got.tensors.keys()].toSorted()).toEqual(
      wanted
        .keys('ids')
        .map((key) => `logits.${key}`)
        .toSorted(),
    )
    for (const key of wanted.keys('logits')) {
      const bytes = await got.read(`logits.${key}`)
      const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
      const vocabSize = got.tensors.get(`logits.${key}`)?.shape[1] ?? 0
      expect(worstNmse(values, await wanted.f32(`logits.${key}`), vocabSize), `logits.${key}`).toBeLessThan(1e-10)
    }
    await wanted.close()
    await got.close()
  })

  it('refuses bad arguments, files and ids in one line, and writes nothing', async () => {
    const fine = await idsFile('fine', [1, 2])
    const out = join(dir, 'unwritten')
    const cases: [args: string[], message: RegExp][] = [
      [['--model', join(dir, 'none'), '--ids-file', fine, '--out', out], /no such file/],
      [['--model', tiny, '--ids-file', join(dir, 'none'), '--out', out], /no such file/],
      [['--model', tiny, '--ids-file', fine, '--out', join(dir, 'none', 'out')], /--out: cannot write/],
      [['--model', tiny, '--ids-file', fine, '--out', dir], /--out: expected a file/],
      [['--model', tiny, '--ids-file', fine, '--out', out, '--rows', '0'], /--rows: expected/],
      [
        ['--model', tiny, '--ids-file', fine, '--out', out, '--row', '1'],
        /^Unknown option --row: --help lists them all\n$/,
      ],
      [
        ['--model', tiny, '--ids-file', await idsFile('float', [1], 'f32'), '--out', out],
        /expected i32 \[T\], got f32/,
      ],
      [['--model', tiny, '--ids-file', await idsFile('low', [1, -1]), '--out', out], /expected ids 0 … 1023, got -1/],
      [['--model', tiny, '--ids-file', await idsFile('high', [1024]), '--out', out], /expected ids 0 … 1023, got 1024/],
      [
        ['--model', tiny, '--ids-file', await idsFile('long', Array<number>(2049).fill(1)), '--out', out],
        /at most 2048/,
      ],
    ]
    for (const [args, stderr] of cases) {
      expect(await axle('logits', ...args)).toMatchObject({
        exitCode: 1,
        stdout: '',
        stderr: expect.stringMatching(stderr),
      })
    }
    await expect(stat(out)).rejects.toThrow(/ENOENT/)
  })

  it('tells what it takes: with --help on stdout, without arguments on stderr', async () => {
    expect(await axle('logits', '--help')).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/--ids-file F/) })
    const bare = await axle('logits')
    expect(bare).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringMatching(/--model is missing[^]*--ids-file F/),
    })
  })
})
