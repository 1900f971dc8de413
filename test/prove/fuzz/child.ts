/**
 * The process in which cases run, one after another, so that a hang, a crash or an allocation is seen from outside.
 *
 * Takes a FuzzCase by message, answers with what became of it and how much memory the process ever held. It judges nothing
 * but the class of an error and whether its file can be meant.
 */
import { execFileSync } from 'node:child_process'
import { link, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../../../gpu-worker/model/checkpoint-error.ts'
import type { FuzzCase } from './cases.ts'
import { mutated } from './mutate.ts'
import { readers } from './readers.ts'

export type Outcome =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'wrong'; readonly problem: string }

export interface Answer {
  readonly outcome: Outcome
  /** Most memory the process ever held. */
  readonly memoryMaxBytes: number
}

/** A message repeats a bounded piece of a file, and names a bounded number of problems. */
const MESSAGE_LENGTH_MAX = 20_000

const [readerName = '', corpusDir = '', workDir = ''] = process.argv.slice(2)
const reader = readers[readerName]
if (reader === undefined) throw new Error(`There is no reader ${readerName}`)

process.on('message', (one: FuzzCase) => {
  void answer(one)
})
// What the process holds before its first case.
process.send?.(process.resourceUsage().maxRSS * 1024)

async function answer(one: FuzzCase): Promise<void> {
  const outcome = await run(one)
  const answered: Answer = { outcome, memoryMaxBytes: process.resourceUsage().maxRSS * 1024 }
  process.send?.(answered)
}

async function run({ base, file, change }: FuzzCase): Promise<Outcome> {
  const dir = join(workDir, 'case')
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir)
  const pristine = join(corpusDir, base)
  const files = await readdir(pristine)
  for (const name of files) if (name !== file) await link(join(pristine, name), join(dir, name))
  const target = join(dir, file)
  if (change.kind === 'place') await place(target, change.place)
  else await writeFile(target, mutated(file, await readFile(join(pristine, file)), change))
  try {
    await reader?.(base)(dir)
    return { kind: 'loaded' }
  } catch (error) {
    return judged(error)
  }
}

async function place(target: string, kind: string): Promise<void> {
  if (kind === 'empty') await writeFile(target, '')
  if (kind === 'folder') await mkdir(target)
  if (kind === 'link-out') await symlink('/etc/hostname', target)
  if (kind === 'link-loop') await symlink(target, target)
  if (kind === 'device') execFileSync('mkfifo', [target])
}

function judged(error: unknown): Outcome {
  if (!(error instanceof CheckpointError)) {
    return { kind: 'wrong', problem: error instanceof Error ? (error.stack ?? error.message) : `threw ${typeof error}` }
  }
  const { message, file } = error
  if (file === '' || !message.startsWith(`Cannot load ${file}: `))
    return { kind: 'wrong', problem: `names no file: ${message}` }
  if (message.length > MESSAGE_LENGTH_MAX)
    return { kind: 'wrong', problem: `a message of ${message.length} characters` }
  return { kind: 'refused', message }
}
