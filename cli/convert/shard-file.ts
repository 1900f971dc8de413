/**
 * One safetensors file in the making: its tensors' bytes come in pieces and any order, and its name only when it is whole.
 *
 *     model-00007-of-00124.safetensors.partial  ── finish(): all on disk ─▶  model-00007-of-00124.safetensors
 *
 * What a killed run leaves under the partial name is overwritten by the next. It knows neither sources nor quantisation.
 */
import { open, rename, type FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import { layoutSafetensors, type TensorInfo } from '../../gpu-worker/model/safetensors.ts'
import { naming } from './failure-names.ts'

export const PARTIAL = '.partial'

export class ShardFile {
  readonly #path: string
  readonly #handle: FileHandle
  readonly #offsets: ReadonlyMap<string, number>

  private constructor(path: string, handle: FileHandle, offsets: ReadonlyMap<string, number>) {
    this.#path = path
    this.#handle = handle
    this.#offsets = offsets
  }

  /** Starts a file with its header; whoever created it finishes or abandons it. */
  static async create(path: string, tensors: readonly TensorInfo[]): Promise<ShardFile> {
    // Transformers' readers want to know which framework wrote it, and know this word.
    const { header, offsets, byteLength } = layoutSafetensors(basename(path), tensors, { format: 'pt' })
    const handle = await open(path + PARTIAL, 'w')
    const file = new ShardFile(path, handle, offsets)
    try {
      await handle.truncate(byteLength)
      await writeAll(handle, header, 0)
      return file
    } catch (error) {
      await file.abandon()
      throw error
    }
  }

  /** Bytes of one tensor from `start` on. */
  write(tensor: string, start: number, bytes: Uint8Array): Promise<void> {
    const offset = this.#offsets.get(tensor)
    if (offset === undefined) throw new RangeError(`Cannot write ${tensor}: this file has no such tensor`)
    return writeAll(this.#handle, bytes, offset + start)
  }

  /** Everything was written: gives the file its name, once it is on disk. */
  async finish(): Promise<void> {
    try {
      await this.#handle.sync()
    } finally {
      await this.#handle.close()
    }
    await rename(this.#path + PARTIAL, this.#path)
  }

  /** Closes it as it is, without a name. */
  abandon(): Promise<void> {
    return this.#handle.close()
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

/** A small file, whole or not there. */
export function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  return naming(`Cannot write ${basename(path)}`, async () => {
    const handle = await open(path + PARTIAL, 'w')
    try {
      await handle.writeFile(data)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(path + PARTIAL, path)
  })
}
