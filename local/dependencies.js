/**
 * Are the packages that package-lock.json asks for installed, and installing them when not. npm leaves its own record of
 * what lies in `node_modules` when an install is complete; that record is compared, so an install by hand counts as well
 * and a broken-off one does not. Runs on Node 20, before anything is installed.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { runNpm } from './npm-client.js'

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean, os?: string[], cpu?: string[] }} LockedPackage
 * @typedef {{ packages: Record<string, LockedPackage & Record<string, unknown>> }} Lockfile
 */

/**
 * @param {string} root
 * @returns {boolean}
 */
export function areDependenciesInstalled(root) {
  const manifest = readJson(join(root, 'package.json'))
  /** @type {Lockfile | undefined} */
  const wanted = readJson(join(root, 'package-lock.json'))
  /** @type {Lockfile | undefined} */
  const installed = readJson(join(root, 'node_modules', '.package-lock.json'))
  if (wanted === undefined || installed === undefined) return false
  return isLockOf(manifest, wanted) && holdsAll(wanted, installed) && suitsThisMachine(installed)
}

/**
 * @param {string} nodePath
 * @param {string} root
 */
export function installDependencies(nodePath, root) {
  return runNpm(nodePath, root, ['ci'])
}

/**
 * A manifest edited without its lockfile must reach `npm ci`, which says so.
 * @param {Record<string, unknown>} manifest
 * @param {Lockfile} lockfile
 */
function isLockOf(manifest, lockfile) {
  return ['dependencies', 'devDependencies'].every(
    (field) => JSON.stringify(manifest[field] ?? {}) === JSON.stringify(lockfile.packages['']?.[field] ?? {}),
  )
}

/**
 * @param {Lockfile} wanted
 * @param {Lockfile} installed
 */
function holdsAll(wanted, installed) {
  return Object.entries(wanted.packages).every(([path, entry]) => {
    if (path === '') return true
    const there = installed.packages[path]
    if (there === undefined) return entry.optional === true
    return there.version === entry.version && there.integrity === entry.integrity
  })
}

/**
 * A `node_modules` copied from another kind of machine holds that machine's binaries.
 * @param {Lockfile} installed
 */
function suitsThisMachine(installed) {
  return Object.values(installed.packages).every(
    ({ os, cpu }) => (os?.includes(process.platform) ?? true) && (cpu?.includes(process.arch) ?? true),
  )
}

/** @param {string} path */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined // missing or cut short: the same as not installed
  }
}
