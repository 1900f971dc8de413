/**
 * What a checkpoint is called where nobody names it: as its folder; in the Hugging Face cache, whose folders are named by
 * commits, as the repository.
 *
 *     ~/models/A.X-K1                                   A.X-K1
 *     …/hub/models--skt--A.X-K1/snapshots/<commit>      skt/A.X-K1
 *
 * It opens nothing.
 */
import { basename, dirname, resolve } from 'node:path'

export function checkpointName(dir: string): string {
  const folder = resolve(dir)
  const snapshots = dirname(folder)
  const repository = /^models--(.+)$/.exec(basename(dirname(snapshots)))?.[1]
  if (basename(snapshots) !== 'snapshots' || repository === undefined) return basename(folder)
  return repository.replace('--', '/')
}
