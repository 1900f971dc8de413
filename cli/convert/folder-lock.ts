/**
 * One conversion at a time in a folder: a second would write into the first one's shards.
 *
 * The lock lies with the machine's temporary files, for not every disk that takes a checkpoint has the links it is made of.
 * So it knows this machine alone: who shares a folder between machines sees to it that one of them writes.
 */
import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { takeLock } from '../../local/pid-lock.js'
import { OutputRefused } from './conversion-record.ts'

/** Makes the folder if need be; returns what lets go of it. Throws OutputRefused while another process converts into it. */
export async function lockFolder(dir: string): Promise<() => void> {
  await mkdir(dir, { recursive: true })
  const name = createHash('sha256')
    .update(await realpath(dir))
    .digest('hex')
  const attempt = takeLock(join(tmpdir(), `axle-convert-${name.slice(0, 16)}.lock`))
  if (attempt.kind === 'taken') return attempt.lock.release
  throw new OutputRefused(`Cannot write to ${dir}: process ${attempt.holder.pid} is converting into it`)
}
