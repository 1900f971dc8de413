/**
 * One conversion at a time in a folder: a second would write into the first one's shards. A killed one's lock holds nobody.
 *
 * It knows processes of this machine alone; who shares a folder between machines sees to it that one of them writes.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { OutputRefused } from './conversion-record.ts'

export const LOCK_FILE = 'conversion.lock'

/** Makes the folder if need be; returns what lets go of it. Throws OutputRefused while another process converts into it. */
export async function lockFolder(dir: string): Promise<() => Promise<void>> {
  await mkdir(dir, { recursive: true })
  const path = join(dir, LOCK_FILE)
  const own = String(process.pid)
  try {
    await writeFile(path, own, { flag: 'wx' })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    const owner = Number(await readFile(path, 'utf8'))
    if (isAlive(owner)) {
      const problem = `process ${owner} is converting into it; if that is another program, remove ${LOCK_FILE}`
      throw new OutputRefused(`Cannot write to ${dir}: ${problem}`)
    }
    await writeFile(path, own)
  }
  return () => rm(path, { force: true })
}

/** An id of our own was a killed process's: in a container each start may have the same. */
function isAlive(processId: number): boolean {
  if (!Number.isSafeInteger(processId) || processId <= 0 || processId === process.pid) return false
  try {
    return process.kill(processId, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}
