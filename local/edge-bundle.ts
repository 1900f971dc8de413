/**
 * The gateway's bundle, made by wrangler's own bundler: what runs here is what a deployment uploads.
 *
 * Kept by the hash of everything it is made of, so that a second start does not make it again. It knows nothing of how
 * the bundle is run.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '..')
const sources = ['edge', 'contract', 'wrangler.toml', 'package-lock.json']
const bundleTimeoutMs = 120_000
const bundlesKept = 4

export const entryName = 'index.js'

/** @returns the folder with the entry and its text modules. */
export async function bundleEdge(cacheFolder: string): Promise<string> {
  const bundle = join(cacheFolder, await sourceHash())
  if (await isThere(bundle)) return bundle
  await mkdir(cacheFolder, { recursive: true })
  const fresh = await mkdtemp(join(cacheFolder, 'making-'))
  try {
    await promisify(execFile)(
      process.execPath,
      [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--outdir', fresh],
      { cwd: root, timeout: bundleTimeoutMs, env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' } },
    )
    // Another process may have made the same bundle meanwhile: theirs is as good.
    await rename(fresh, bundle).catch(async (error: unknown) => {
      if (!(await isThere(bundle))) throw error
    })
    await dropOld(cacheFolder)
    return bundle
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

/** Whoever still starts from an older bundle has a few to go. */
async function dropOld(cacheFolder: string): Promise<void> {
  const paths = (await readdir(cacheFolder)).map((name) => join(cacheFolder, name))
  const dated = await Promise.all(paths.map(async (path) => ({ path, madeAtMs: (await stat(path)).mtimeMs })))
  const old = dated.sort((a, b) => b.madeAtMs - a.madeAtMs).slice(bundlesKept)
  await Promise.all(old.map(({ path }) => rm(path, { recursive: true, force: true })))
}

async function isThere(bundle: string): Promise<boolean> {
  const names: string[] = await readdir(bundle).catch(() => [])
  return names.includes(entryName)
}

/** SHA-256 over the names and contents of all sources. */
async function sourceHash(): Promise<string> {
  const hash = createHash('sha256')
  for (const source of sources) {
    const names = source.includes('.') ? [source] : await filesUnder(source)
    for (const name of names) {
      const content = await readFile(join(root, name))
      hash.update(`${name}\n${content.length}\n`).update(content)
    }
  }
  return hash.digest('hex').slice(0, 32)
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort()
}
