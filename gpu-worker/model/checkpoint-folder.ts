/**
 * The folder of a checkpoint as the only place its files may come from: plain names, regular files, no way out by symlink.
 *
 * It does not know what the files hold.
 */
import { constants } from 'node:fs'
import { open, realpath, stat, type FileHandle } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { CheckpointError, quote } from './checkpoint-error.ts'

export interface OpenFile {
  readonly handle: FileHandle
  readonly byteLength: number
}

/** Opens `name` for reading; the caller closes the handle. Null when there is no such file. */
export async function openInside(dir: string, name: string): Promise<OpenFile | null> {
  if (name === '' || name === '..' || /[/\\\0]/.test(name)) {
    throw new CheckpointError(quote(name), 'expected the plain name of a file in the folder')
  }
  const path = await realpath(join(dir, name)).catch(nullWhenMissing)
  if (path === null) return null
  const inside = relative(await realpath(dir), path)
  if (inside === '' || inside === '..' || inside.startsWith(`..${sep}`)) {
    throw new CheckpointError(name, 'it is a link out of the checkpoint folder: copy the file into the folder')
  }
  // Asked before opening: opening a pipe would wait for its writer.
  if (!(await stat(path)).isFile()) throw new CheckpointError(name, 'expected a regular file')
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return { handle, byteLength: (await handle.stat()).size }
}

/** The whole of a file of at most `bytesMax`; null when there is no such file. */
export async function readInside(dir: string, name: string, bytesMax: number): Promise<Uint8Array | null> {
  const file = await openInside(dir, name)
  if (file === null) return null
  try {
    if (file.byteLength > bytesMax) {
      throw new CheckpointError(name, `expected at most ${bytesMax} bytes, got ${file.byteLength}`)
    }
    return await readRange(name, file.handle, 0, file.byteLength)
  } finally {
    await file.handle.close()
  }
}

/** One read call takes fewer than 2³¹ bytes. */
const READ_BYTES_MAX = 1 << 30

/** Bytes [start, end) of an open file, in a buffer of their own (offset 0, so typed-array views fit). */
export async function readRange(
  name: string,
  handle: FileHandle,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - start)
  let filled = 0
  while (filled < bytes.length) {
    const length = Math.min(bytes.length - filled, READ_BYTES_MAX)
    const { bytesRead } = await handle.read(bytes, filled, length, start + filled)
    if (bytesRead === 0) throw new CheckpointError(name, `the file ended at byte ${start + filled}, expected ${end}`)
    filled += bytesRead
  }
  return bytes
}

function nullWhenMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}
