/**
 * Copies of the engine with one rule broken each: what the simulation must notice, or it proves nothing.
 *
 * A rule is broken in the source, since no switch of the engine may turn one off. The copy is forgotten with the process.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Engine } from '../../gpu-worker/engine/engine.ts'

export interface Breakage {
  readonly file: string
  /** Stands there exactly once. */
  readonly rule: string
  readonly broken: string
}

const engineFolder = join(import.meta.dirname, '../../gpu-worker/engine')

export async function brokenEngine({ file, rule, broken }: Breakage): Promise<typeof Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'axle-broken-engine-'))
  try {
    await cp(engineFolder, folder, { recursive: true })
    const source = await readFile(join(folder, file), 'utf8')
    assert.equal(source.split(rule).length, 2, `${file} does not say once: ${rule}`)
    await writeFile(join(folder, file), source.replace(rule, broken))
    // A copy of that very module.
    const module = (await import(pathToFileURL(join(folder, 'engine.ts')).href)) as { readonly Engine: typeof Engine }
    return module.Engine
  } finally {
    await rm(folder, { recursive: true })
  }
}

export const breakages: Readonly<Record<string, Breakage>> = {
  'shares a block that is still written': {
    file: 'scheduler.ts',
    rule: 'Math.floor(Math.min(running.computedCount, sequence.tokenIds.length) / blockTokens)',
    broken: 'Math.ceil(Math.min(running.computedCount, sequence.tokenIds.length) / blockTokens)',
  },
  'forgets to release a block': {
    file: 'scheduler.ts',
    rule: 'this.blocks.release(sequence.state.blocks)',
    broken: 'this.blocks.release(sequence.state.blocks.slice(1))',
  },
  'admits in a step that preempts': {
    file: 'scheduler.ts',
    rule: '(hasPreempted ? null : this.#admitNext(nowMs))',
    broken: 'this.#admitNext(nowMs)',
  },
  'preempts the one due first': {
    file: 'scheduler.ts',
    rule: 'a.dueMs - b.dueMs || a.arrival - b.arrival',
    broken: 'b.dueMs - a.dueMs || b.arrival - a.arrival',
  },
  'lets a hit cover the last token': {
    file: 'scheduler.ts',
    rule: '(sequence.tokenIds.length - 1) / blockTokens',
    broken: 'sequence.tokenIds.length / blockTokens',
  },
  'ignores the age cap': { file: 'admission.ts', rule: 'if (nowMs >= dueMs)', broken: 'if (nowMs < 0)' },
  'ignores the classes': { file: 'admission.ts', rule: 'return [1, classRank, 1,', broken: 'return [1, 0, 1,' },
  'mixes tenants': {
    file: 'engine.ts',
    rule: 'rootKey(this.#runner.fingerprint, tenantId)',
    broken: "rootKey(this.#runner.fingerprint, '')",
  },
  'forgets what comes before a block': {
    file: 'prefix-key.ts',
    rule: "return digest(Buffer.from(before, 'binary'),",
    broken: 'return digest(Buffer.alloc(0),',
  },
  'finds a block that was given away': {
    file: 'block-manager.ts',
    rule: 'this.#blocks.delete(key)',
    broken: '',
  },
  'feeds a sequence what another samples': {
    file: 'sequence.ts',
    rule: 'start, blocks, sampler, fedFrom }',
    broken: 'start, blocks, sampler, fedFrom: 0 }',
  },
  'runs a steered sequence before its token is known': {
    file: 'sequence.ts',
    rule: 'steer !== undefined || ',
    broken: '',
  },
  'samples with penalties before the last token is known': {
    file: 'sequence.ts',
    rule: ' || sampling.penalties !== undefined',
    broken: '',
  },
  'runs a row behind an answer that is at its length': {
    file: 'sequence.ts',
    rule: 'this.answerCount + 1 < this.#answerCountMax',
    broken: 'this.answerCount < Infinity',
  },
  'tells the row too many behind an end': {
    file: 'engine.ts',
    rule: "if (sequence.state.kind === 'ended') continue",
    broken: '',
  },
  'fills a block that another fills in the same step': {
    file: 'scheduler.ts',
    rule: 'this.#publish(sequence)\n    return',
    broken: 'return',
  },
  'prefills beyond the rows of a chunk': {
    file: 'scheduler.ts',
    rule: 'rowsLeft -= scheduled.rows.tokenIds.length',
    broken: 'rowsLeft -= 1',
  },
  'tells a prompt while decodes wait for a second step': {
    file: 'scheduler.ts',
    rule: 'this.#hasJustTold || teller() === undefined',
    broken: 'teller() === undefined',
  },
  'takes cached blocks for a prompt that is to be told': {
    file: 'scheduler.ts',
    rule: 'if (sequence.isTelling) return []',
    broken: '',
  },
  'tells a prompt again after a preemption': {
    file: 'engine.ts',
    rule: 'if (index < sequence.toldCount) return',
    broken: '',
  },
}
