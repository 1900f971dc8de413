/** What a Runner's bits depend on, as one short text. Knows none of the parts. */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import type { AdapterFacts } from '../gpu/device.ts'
import { kernelDigest } from '../kernels/wgsl.ts'
import type { LayerRange } from './layout.ts'
import type { Profile } from './profile.ts'

/** Equal fingerprints give equal bits: everything that can change one enters. */
export function fingerprintOf(
  modelDigest: string,
  profile: Profile,
  { start, end }: LayerRange,
  adapter: AdapterFacts,
): string {
  const dawn: unknown = createRequire(import.meta.url)('webgpu/package.json')
  const version = typeof dawn === 'object' && dawn !== null && 'version' in dawn ? String(dawn.version) : 'unknown'
  const identity = [modelDigest, profile, start, end, kernelDigest(), adapter, version]
  return `axle-${createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 16)}`
}
