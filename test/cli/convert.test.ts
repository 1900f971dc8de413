/**
 * `axle convert` as its user meets it: a process of its own, killed in the middle too, and the folder it leaves.
 *
 * What quantising does to answers is `test/prove/convert.ts`; what it does to a weight is `convert/group-quantizer.test.ts`.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, watch, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../gpu-worker/model/safetensors.ts'

const root = join(import.meta.dirname, '../..')
const tiny = join(root, 'models/axk1-tiny')
const goldens = join(root, 'test/goldens')

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-convert-'))
})
afterAll(() => rm(dir, { recursive: true }))

interface Finished {
  readonly exitCode: unknown
  readonly stdout: string
  readonly stderr: string
}

function start(...args: string[]): ChildProcessByStdio<null, Readable, Readable> {
  const command = [join(root, 'cli/main.ts'), 'convert', ...args]
  return spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] })
}

async function convert(...args: string[]): Promise<Finished> {
  const child = start(...args)
  const [[exitCode], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { exitCode, stdout, stderr }
}

async function contents(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder)).toSorted()
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'latin1')] as const)),
  )
}

const isWholeShard = (name: string): boolean => /^model-.*\.safetensors$/.test(name)

describe('axle convert', { timeout: 60_000 }, () => {
  it('killed in the middle and run again, goes on and gives the bytes of a run that was not', async () => {
    const options = ['--experts', 'int4', '--rest', 'int8', '--shard-bytes', '40000', '--no-logits']
    const [whole, killed] = [join(dir, 'whole'), join(dir, 'killed')]
    expect(await convert(tiny, whole, ...options)).toMatchObject({ exitCode: 0 })
    const shards = (await readdir(whole)).filter(isWholeShard).toSorted()
    await mkdir(killed)
    const abort = new AbortController()
    const changes = watch(killed, { signal: abort.signal })
    const child = start(tiny, killed, ...options)
    for await (const { filename } of changes) {
      if (filename === `${shards[9]}.partial`) break
    }
    child.kill('SIGKILL')
    abort.abort()
    expect(await once(child, 'close')).toEqual([null, 'SIGKILL'])
    const before = (await readdir(killed)).filter(isWholeShard)
    expect(before.length).toBeGreaterThanOrEqual(9)
    expect(before.length).toBeLessThan(shards.length)
    expect(await readdir(killed)).not.toContain('config.json')
    const recorded = before.toSorted().slice(0, 8)
    const madeMs = await Promise.all(recorded.map(async (name) => (await stat(join(killed, name))).mtimeMs))

    expect(await convert(tiny, killed, ...options)).toMatchObject({ exitCode: 0 })
    expect(await contents(killed)).toEqual(await contents(whole))
    const nowMs = await Promise.all(recorded.map(async (name) => (await stat(join(killed, name))).mtimeMs))
    expect(nowMs, 'whole shards are not made again').toEqual(madeMs)
  })

  it('refuses a folder that another process converts into, which goes on', async () => {
    const out = join(dir, 'shared')
    await mkdir(out)
    const abort = new AbortController()
    const changes = watch(out, { signal: abort.signal })
    const first = start(tiny, out, '--shard-bytes', '40000', '--no-logits')
    const closed = once(first, 'close')
    for await (const { filename } of changes) {
      if (filename?.startsWith('model-') === true) break
    }
    abort.abort()
    // Held still: it cannot be done before the second has looked.
    first.kill('SIGSTOP')
    const second = await convert(tiny, out, '--shard-bytes', '40000', '--no-logits')
    first.kill('SIGCONT')
    expect(second).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(`process ${first.pid} is converting`) })
    expect(await closed).toEqual([0, null])
    expect(await convert(tiny, out, '--shard-bytes', '40000', '--no-logits')).toMatchObject({ exitCode: 0 })
  })

  it('gives the same bytes with any number of threads, and again without making a shard anew', async () => {
    const [one, five] = [join(dir, 'one'), join(dir, 'five')]
    await convert(tiny, one, '--no-logits', '--threads', '1')
    await convert(tiny, five, '--no-logits', '--threads', '5')
    const made = await contents(five)
    expect(made).toEqual(await contents(one))
    expect([...made.keys()]).toEqual([
      'chat_template.jinja',
      'config.json',
      'conversion-report.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    const madeMs = (await stat(join(one, 'model.safetensors'))).mtimeMs
    expect(await convert(tiny, one, '--no-logits')).toMatchObject({ exitCode: 0 })
    expect((await stat(join(one, 'model.safetensors'))).mtimeMs).toBe(madeMs)
  })

  it('run again, gives back small files that are gone, and takes those that the source has changed', async () => {
    const [source, out] = [join(dir, 'edited'), join(dir, 'edited-out')]
    await cp(tiny, source, { recursive: true })
    await convert(source, out, '--no-logits')
    const made = await contents(out)
    await rm(join(out, 'config.json'))
    expect(await convert(source, out, '--no-logits')).toMatchObject({ exitCode: 0 })
    expect(await contents(out)).toEqual(made)
    await writeFile(join(source, 'chat_template.jinja'), '{{ messages }}')
    expect(await convert(source, out, '--no-logits')).toMatchObject({ exitCode: 0 })
    expect(await contents(out)).toEqual(new Map([...made, ['chat_template.jinja', '{{ messages }}']]))
  })

  it("keeps the source's config word for word, and adds how it is quantised", async () => {
    const out = join(dir, 'config')
    await convert(tiny, out, '--no-logits', '--experts', 'int8', '--group', '64')
    const [source, result] = await Promise.all(
      [tiny, out].map((folder) => readFile(join(folder, 'config.json'), 'utf8')),
    )
    expect(result?.startsWith((source ?? '').replace(/\s*\}\s*$/, ',\n  "quantization_config": {'))).toBe(true)
    expect(JSON.parse(result ?? '')).toMatchObject({
      quantization_config: {
        quant_method: 'compressed-tensors',
        format: 'pack-quantized',
        config_groups: { group_0: { weights: { num_bits: 8, group_size: 64, symmetric: true, strategy: 'group' } } },
      },
    })
  })

  it('tells the error of every kind and layer, in the report too', async () => {
    const out = join(dir, 'report')
    const { stdout } = await convert(tiny, out, '--no-logits', '--rest', 'int8')
    expect(stdout).toMatch(/mlp\.experts\.up_proj +120 +8\.6\d\d % +\d\.\d+ % +\d\.mlp\.experts\.\d+\.up_proj/)
    expect(stdout).toMatch(/self_attn\.o_proj +6 +0\.4\d\d %/)
    expect(stdout).toMatch(/^layer {2}attention {2}dense MLP {2}shared experts {2}experts$/m)
    expect(stdout).toMatch(/^ {4}5 +0\.5\d\d % +– +0\.5\d\d % +8\.[67]\d\d %$/m)
    expect(stdout).toContain(`Written to ${out}: 3.75 MiB of weights in one file`)
    expect(JSON.parse(await readFile(join(out, 'conversion-report.json'), 'utf8'))).toMatchObject({
      isWhole: true,
      conversion: { experts: 'int4', rest: 'int8', group: 32 },
      summary: { layers: { length: 6 } },
    })
  })

  it('compares logits on the tokens of a file, and says why where it cannot', async () => {
    const [source, out] = [join(goldens, 'yarn-fused-bf16'), join(dir, 'logits')]
    const options = [source, out, '--experts', 'int8', '--rest', 'int8']
    const { stdout } = await convert(...options, '--ids-file', join(source, 'expected.safetensors'))
    expect(stdout).toMatch(
      /Logits over 171 positions of 4 prompts \(--ids-file\): NMSE \S+e-\d, median position \S+e-\d, worst \S+e-\d; same/,
    )
    expect(JSON.parse(await readFile(join(out, 'conversion-report.json'), 'utf8'))).toMatchObject({
      logits: { prompts: '--ids-file', promptCount: 4, positionCount: 171 },
    })
    expect(await convert(...options)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/Logits: not compared: there is no tokenizer/),
    })
  })

  it('names a weight that is not a number, and leaves nothing that looks like a checkpoint', async () => {
    const [source, out] = [join(dir, 'nan'), join(dir, 'nan-out')]
    await cp(join(goldens, 'per-expert-f32'), source, { recursive: true })
    const file = await readSafetensors(join(source, 'model.safetensors'))
    const tensors = await Promise.all(
      [...file.tensors.values()].map(async (info) => Object.assign({ data: await file.read(info.name) }, info)),
    )
    await file.close()
    const name = 'model.layers.2.mlp.experts.7.down_proj.weight'
    const bad = tensors.find((tensor) => tensor.name === name)
    new DataView(bad?.data.buffer ?? new ArrayBuffer(0)).setFloat32((3 * 32 + 5) * 4, NaN, true)
    await writeSafetensors(join(source, 'model.safetensors'), tensors)
    expect(await convert(source, out, '--no-logits')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/experts\.7\.down_proj\.weight: row 3, column 5 is NaN or infinite/),
    })
    expect((await readdir(out)).filter((entry) => /^config|\.safetensors$/.test(entry))).toEqual([])
  })

  it('refuses bad arguments, quantised sources and folders of others in one line', async () => {
    const foreign = join(dir, 'foreign')
    await mkdir(foreign)
    await writeFile(join(foreign, 'thesis.txt'), 'dear to someone')
    const other = join(dir, 'other')
    await convert(tiny, other, '--no-logits')
    const out = join(dir, 'unwritten')
    const cases: [args: string[], message: RegExp][] = [
      [[join(dir, 'none'), out], /ENOENT|no such file/],
      [[join(goldens, 'int4-experts'), out], /it is quantised already \("compressed-tensors"\): convert the original/],
      [[join(goldens, 'fp8-blocks'), out], /it is quantised already \("fp8"\)/],
      [[tiny, foreign], /it is not empty, nor an unfinished conversion: it has thesis\.txt/],
      [[tiny, tiny], /it is not empty/],
      [[tiny, other, '--group', '64'], /it holds a conversion of \w{12} with .*--group 32.*, not .*--group 64/],
      [[join(goldens, 'odd-shapes-f16'), other], /it holds a conversion of \w{12} .*, not a conversion of \w{12}/],
      [[tiny, out, '--experts', 'int3'], /--experts: expected int4, int8, got int3/],
      [[tiny, out, '--rest', 'fp8'], /--rest: expected bf16, int8, got fp8/],
      [[tiny, out, '--group', '48'], /--group: expected 32, 64, 128, got 48/],
      [[tiny, out, '--threads', '0'], /--threads: expected a whole number, got 0/],
      [[tiny, out, '--ids-file', join(dir, 'none')], /no such file/],
      [[tiny], /Expected two folders, DIR and OUT, got 1 arguments/],
    ]
    for (const [args, stderr] of cases) {
      const finished = await convert(...args)
      expect(finished).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringMatching(stderr) })
    }
    await expect(stat(out)).rejects.toThrow(/ENOENT/)
    expect(await readdir(foreign)).toEqual(['thesis.txt'])
  })

  it('tells what it takes, with examples', async () => {
    expect(await convert('--help')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/"not quantised": an f32 or[^]*convert models\/axk1-tiny/),
    })
  })
})
