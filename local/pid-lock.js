/**
 * A lock file that names its holder, so that a holder that died cannot keep it: the next taker sees that the process is
 * gone and takes over. Runs on Node 20, before anything is installed; knows nothing of what it guards.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isRunning, ownIdentity } from './process-identity.js'

/** @typedef {import('./process-identity.js').ProcessIdentity} ProcessIdentity */
/** @typedef {ProcessIdentity & { isEnding: boolean }} LockHolder */
/** @typedef {{ release: () => void, announceEnd: () => void }} Lock  `announceEnd` tells takers that waiting is worth it */
/** @typedef {{ kind: 'taken', lock: Lock } | { kind: 'held', holder: LockHolder }} LockAttempt */

/** A taker can lose the race for a stale lock to another taker a few times, not forever. */
const attemptsMax = 100

/**
 * @param {string} path
 * @returns {LockAttempt}
 */
export function takeLock(path) {
  mkdirSync(dirname(path), { recursive: true })
  const own = { ...ownIdentity(), isEnding: false }
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (link(draft, path))
        return { kind: 'taken', lock: { release: () => release(path, own), announceEnd: () => announceEnd(path, own) } }
      const holder = readHolder(path)
      if (holder !== undefined && isRunning(holder)) return { kind: 'held', holder }
      removeStale(path, draft)
    }
  } finally {
    rmSync(draft, { force: true })
  }
  throw new Error(`Cannot take the lock ${path}: it changed hands ${attemptsMax} times meanwhile`)
}

const pollMs = 200

/**
 * Takes the lock as soon as whoever holds it lets go or dies.
 * @param {string} path
 * @param {{ deadlineMs: number, onWait: (holderPid: number) => void }} options `onWait` is called once, if at all
 * @returns {Promise<() => void>} releases it; rejects after the deadline
 */
export async function waitForLock(path, { deadlineMs, onWait }) {
  const giveUpAt = performance.now() + deadlineMs
  for (let hasWaited = false; ; hasWaited = true) {
    const attempt = takeLock(path)
    if (attempt.kind === 'taken') return attempt.lock.release
    const { pid } = attempt.holder
    if (!hasWaited) onWait(pid)
    if (performance.now() > giveUpAt)
      throw new Error(`Process ${pid} has held ${path} for too long. End it, then retry.`)
    await new Promise((next) => setTimeout(next, pollMs))
  }
}

/**
 * A hard link appears with its whole content or not at all, and never replaces a file.
 * @param {string} draft
 * @param {string} path
 */
function link(draft, path) {
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/**
 * @param {string} path
 * @returns {LockHolder | undefined} undefined when there is no lock or it cannot be read as one
 */
export function readHolder(path) {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8'))
    return typeof holder.pid === 'number' &&
      typeof holder.startTime === 'string' &&
      typeof holder.isEnding === 'boolean'
      ? holder
      : undefined
  } catch {
    return undefined // gone, or not ours: nobody who lives holds it
  }
}

/**
 * Moves the lock aside before deleting it. Should another taker have replaced it in between, it goes back.
 * @param {string} path
 * @param {string} draft
 */
function removeStale(path, draft) {
  const aside = `${draft}.stale`
  try {
    renameSync(path, aside)
  } catch {
    return // another taker was faster
  }
  const moved = readHolder(aside)
  if (moved !== undefined && isRunning(moved)) link(aside, path)
  rmSync(aside, { force: true })
}

/**
 * @param {string} path
 * @param {LockHolder} own
 */
function announceEnd(path, own) {
  if (!isHeldBy(path, own)) return
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify({ ...own, isEnding: true }), { mode: 0o600 })
  renameSync(draft, path)
}

/**
 * @param {string} path
 * @param {LockHolder} own
 */
function release(path, own) {
  if (isHeldBy(path, own)) rmSync(path, { force: true })
}

/**
 * @param {string} path
 * @param {LockHolder} own
 */
function isHeldBy(path, own) {
  const holder = readHolder(path)
  return holder?.pid === own.pid && holder.startTime === own.startTime
}
