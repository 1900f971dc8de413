/**
 * Small files that only their owner may read and that readers see whole or not at all. It knows nothing of what is in them.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs'

/** Replaces `path` atomically with mode 0600. */
export function writePrivateFile(path: string, content: string): void {
  const draft = `${path}.${process.pid}.draft`
  try {
    writeFileSync(draft, content, { mode: 0o600, flush: true })
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    throw error
  }
}
