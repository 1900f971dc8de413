/**
 * The house rules that no linter knows: who may import whom, what a file is called, how long it is, what belongs beside it.
 *
 * It reads the files git tracks as text; it knows nothing of what they do. A limit here is only ever tightened.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'

/** Room → rooms it may import from, besides itself. Imports point down only; `engine` sees nothing but itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  edge: ['contract'],
  workers: ['contract'],
  'gpu-worker': ['contract', 'gpu-worker/model', 'gpu-worker/experts', 'gpu-worker/engine'],
  'gpu-worker/model': [
    'contract',
    'gpu-worker/experts',
    'gpu-worker/engine',
    'gpu-worker/layers',
    'gpu-worker/kernels',
    'gpu-worker/gpu',
  ],
  'gpu-worker/experts': ['contract', 'gpu-worker/engine', 'gpu-worker/kernels', 'gpu-worker/gpu'],
  'gpu-worker/layers': ['contract', 'gpu-worker/kernels', 'gpu-worker/gpu'],
  'gpu-worker/kernels': ['contract', 'gpu-worker/gpu'],
  'gpu-worker/gpu': ['contract'],
  'gpu-worker/engine': [],
}
/** Longest names first, so that `gpu-worker/model` is found before `gpu-worker`. */
const rooms = Object.keys(mayImport).sort((a, b) => b.length - a.length)
/** Files that start, test and measure the others may import anything. */
const production = rooms.filter((room) => !room.includes('/'))

const linesMax: Readonly<Record<string, number>> = { '.ts': 300, '.wgsl': 250, '.lua': 120 }
/** Files over the limit, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {}

/** Paths from the root; on a machine without git, whatever lies here that is not made here. */
function listFiles(): string[] {
  const made = /^(node_modules|\.git|\.node|\.axle|\.wrangler)$/
  try {
    const list = ['ls-files', '--cached', '--others', '--exclude-standard']
    return execFileSync('git', list, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .trim()
      .split('\n')
  } catch {
    return readdirSync('.', { withFileTypes: true })
      .filter(({ name }) => !made.test(name))
      .flatMap((entry) =>
        entry.isDirectory()
          ? readdirSync(entry.name, { recursive: true, encoding: 'utf8' }).map((name) => join(entry.name, name))
          : [entry.name],
      )
      .filter((file) => statSync(file).isFile())
  }
}

const tracked = listFiles().filter((file) => existsSync(file))
const code = tracked.filter((file) => /\.(ts|js|wgsl|lua|sql)$/.test(file) && !/^(models|test\/goldens)\//.test(file))

function roomOf(file: string): string | undefined {
  return rooms.find((room) => file.startsWith(`${room}/`))
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"\n]*(?:\n[^'"\n]*)*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/g
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '')
}

describe('the import table', () => {
  it('holds: imports point down only', () => {
    const wrong: string[] = []
    for (const file of code.filter(
      (name) => name.endsWith('.ts') && production.some((room) => name.startsWith(`${room}/`)),
    )) {
      const room = roomOf(file)
      for (const target of importsOf(file).filter((name) => name.startsWith('.'))) {
        const path = normalize(join(dirname(file), target))
        const targetRoom = roomOf(path)
        const isAllowed =
          targetRoom === room ||
          (room !== undefined && targetRoom !== undefined && mayImport[room]?.includes(targetRoom))
        if (!isAllowed) wrong.push(`${file} imports ${path}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('sees the imports it judges', () => {
    expect(importsOf('gpu-worker/engine/runner.ts')).toEqual(['./batch.ts'])
  })

  it('leaves the engine nothing but itself, assertions and hashes', () => {
    const engine = code.filter((file) => file.startsWith('gpu-worker/engine/'))
    // A hash is as pure as an assertion.
    const pure = new Set(['node:assert/strict', 'node:crypto'])
    const outside = engine.flatMap(importsOf).filter((name) => !name.startsWith('./') && !pure.has(name))
    expect(outside).toEqual([])
  })
})

describe('every file', () => {
  it('opens with a sentence of what it is', () => {
    const silent = code.filter((file) => !/^(#!.*\n)?\s*(\/\*\*|\/\/|--|\/\*)/.test(readFileSync(file, 'utf8')))
    expect(silent).toEqual([])
  })

  it('has a kebab-case name that says its idea', () => {
    const forbidden = /^(utils?|helpers?|common|types|misc|index)\b/
    const odd = code.filter((file) => {
      const name = basename(file)
      return !/^[a-z0-9]+([-.][a-z0-9]+)*$/.test(name.replace(/^\d+_/, '').replaceAll('_', '-')) || forbidden.test(name)
    })
    // Workers name their entry by convention.
    expect(odd.filter((file) => file !== 'edge/index.ts')).toEqual([])
  })

  it('is short, or says why not', () => {
    const long = code.filter((file) => {
      const limit = linesMax[/\.[a-z]+$/.exec(file)?.[0] ?? '']
      return limit !== undefined && readFileSync(file, 'utf8').split('\n').length - 1 > limit && !(file in longFiles)
    })
    expect(long).toEqual([])
  })

  it('names no machine and no registry', () => {
    const hosts = ['package-lock.json', ...code].filter((file) =>
      /"resolved": *"https?:|registry\.npmjs/.test(read(file)),
    )
    expect(hosts.filter((file) => file !== 'test/tidy.test.ts')).toEqual([])
  })
})

describe('every kernel', () => {
  const kernels = code.filter((file) => /^gpu-worker\/kernels\/[^/]+\.wgsl$/.test(file))

  it('stands with its launch, its reference and its test', () => {
    const missing = kernels.flatMap((file) => {
      const base = file.replace(/\.wgsl$/, '')
      // Another shape of the same work shares its reference.
      const beside = [
        `${base}.ts`,
        `${base.replace(/-(chunks|tile|panel|grouped|block|lanes?)$/, '')}.ref.ts`,
        `test/kernels/${basename(base)}.test.ts`,
      ]
      return beside.filter((path) => !existsSync(path))
    })
    expect(missing).toEqual([])
  })

  it('multiplies and adds floats only through fma', () => {
    // The order contract: `a * b + c` may or may not be contracted by a driver, `fma` always is.
    const suspicious = kernels.flatMap((file) =>
      read(file)
        .split('\n')
        .map((line) => line.replace(/\/\/.*/, ''))
        .filter(
          (line) =>
            /\bf32\b/.test(line) &&
            /[\w)\]]\s*\*\s*[\w(][^;,]*\)?\s*\+\s*[\w(]/.test(line) &&
            !/fma|u32|i32/.test(line),
        )
        .map((line) => `${file}: ${line.trim()}`),
    )
    expect(suspicious).toEqual([])
  })
})

function read(file: string): string {
  return readFileSync(file, 'utf8')
}
