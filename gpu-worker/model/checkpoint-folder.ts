/**
 * The folder of a checkpoint as the only place its files may come from: plain names, regular files, no way out by symlink.
 *
 * One way out is known and let through: a snapshot of the Hugging Face cache, whose files are links to blobs beside it.
 *
 *     models--skt--A.X-K1/snapshots/<commit>/config.json → models--skt--A.X-K1/blobs/<hash>
 *
 * It does not know what the files hold.
 */
import { constants } from 'node:fs'
import { open, realpath, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import { CheckpointError, quote } from './checkpoint-error.ts'

export interface OpenFile {
  readonly handle: FileHandle
  readonly byteLength: number
}

/** Opens `name` for reading; the caller closes the handle. Null when there is no such file. Throws CheckpointError. */
export async function openInside(dir: string, name: string): Promise<OpenFile | null> {
  if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
    throw new CheckpointError(quote(name), 'expected the plain name of a file in the folder')
  }
  try {
    const path = await realpath(join(dir, name)).catch(nullWhenMissing)
    if (path === null) return null
    const folder = await realpath(dir)
    if (!path.startsWith(join(folder, sep)) && !isCacheBlob(folder, path)) {
      throw new CheckpointError(name, 'it is a link out of the checkpoint folder: copy the file into the folder')
    }
    return await openRegular(name, path)
  } catch (error) {
    throw asCheckpointError(name, error)
  }
}

/** `path` has no links in it; one put in its place since then is not followed. */
async function openRegular(name: string, path: string): Promise<OpenFile> {
  // Asked before opening: opening a device may do something, opening a pipe would wait for its writer.
  if (!(await stat(path)).isFile()) throw new CheckpointError(name, 'expected a regular file')
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  const opened = await handle.stat()
  if (opened.isFile()) return { handle, byteLength: opened.size }
  await handle.close()
  throw new CheckpointError(name, 'expected a regular file')
}

/** Whether `path` is a blob of the very repository that `folder` is a snapshot of. Both are free of links. */
function isCacheBlob(folder: string, path: string): boolean {
  const snapshots = dirname(folder)
  const repository = dirname(snapshots)
  return (
    /^[0-9a-f]{40}$/.test(basename(folder)) &&
    basename(snapshots) === 'snapshots' &&
    basename(repository).startsWith('models--') &&
    dirname(path) === join(repository, 'blobs') &&
    /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(basename(path))
  )
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
  await readInto(name, handle, start, bytes)
  return bytes
}

/** Fills `target` with the bytes of an open file from `start` on. */
export async function readInto(
  name: string,
  handle: FileHandle,
  start: number,
  target: Uint8Array<ArrayBuffer>,
): Promise<void> {
  let filled = 0
  while (filled < target.length) {
    const length = Math.min(target.length - filled, READ_BYTES_MAX)
    const { bytesRead } = await handle.read(target, filled, length, start + filled).catch((error: unknown) => {
      throw asCheckpointError(name, error)
    })
    if (bytesRead === 0) {
      throw new CheckpointError(name, `the file ended at byte ${start + filled}, expected ${start + target.length}`)
    }
    filled += bytesRead
  }
}

/** What the file system says of a file, under the file's name; anything else as it is. */
function asCheckpointError(name: string, error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  if (error instanceof CheckpointError || !('code' in error)) return error
  return new CheckpointError(name, `it cannot be read (${String(error.code)})`, { cause: error })
}

function nullWhenMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}
