/**
 * The keys and secrets of one data directory: made once, kept in `secrets.json` (0600), the same at every start.
 * There is no default secret. It does not know who uses which.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { newKey, parseKey } from '../contract/key-format.ts'
import { Failure } from './failure.ts'
import { writePrivateFile } from './private-file.ts'

const secretsSchema = z.object({
  tenantKey: z.string().refine((key) => parseKey(key)?.kind === 'live'),
  adminKey: z.string().refine((key) => parseKey(key)?.kind === 'admin'),
  /** Mixed into every key digest in D1: without it the digests cannot be tried against guesses. */
  pepper: z.base64().min(40),
  /** AES-256-GCM key that seals webhook secrets. */
  sealingKey: z.base64().min(40),
  /** Of the private Redis: other users of this machine reach its port too. */
  redisPassword: z.string().regex(/^[0-9a-f]{32,}$/),
})

export type Secrets = z.infer<typeof secretsSchema>

/** @throws Failure when the file is there and unreadable: new keys would orphan everything made with the old ones. */
export function loadSecrets(dataDir: string): Secrets {
  const path = join(dataDir, 'secrets.json')
  const content = readIfPresent(path)
  if (content === undefined) return createSecrets(path)
  const parsed = secretsSchema.safeParse(parseJson(content))
  if (!parsed.success) {
    throw new Failure(
      `The keys in ${path} cannot be read`,
      `Put the file back from a backup, or delete it for new keys: those handed out until now stop working.`,
    )
  }
  chmodSync(path, 0o600)
  return parsed.data
}

function createSecrets(path: string): Secrets {
  const secrets = {
    tenantKey: newKey('live', randomBytes),
    adminKey: newKey('admin', randomBytes),
    pepper: randomBytes(32).toString('base64'),
    sealingKey: randomBytes(32).toString('base64'),
    redisPassword: randomBytes(24).toString('hex'),
  }
  writePrivateFile(path, `${JSON.stringify(secrets, null, 2)}\n`)
  return secrets
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Failure(`Cannot read ${path}`, 'Make it readable for this user, or choose another AXLE_DATA_DIR.', {
      cause: error,
    })
  }
}

function parseJson(content: string): unknown {
  try {
    return JSON.parse(content)
  } catch {
    return undefined // the schema then refuses it
  }
}
