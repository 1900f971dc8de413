/**
 * What was being done when the file system failed: its own errors name no tensor, and not every one a file.
 */
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'

/** Rejects with `action` in front of the reason; a CheckpointError says enough. */
export async function naming<T>(action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CheckpointError) throw error
    const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC'
    const wayOut = isFull ? '; free some space and run the same command again: it goes on where it stopped' : ''
    throw new Error(`${action}: ${error instanceof Error ? error.message : String(error)}${wayOut}`, { cause: error })
  }
}
