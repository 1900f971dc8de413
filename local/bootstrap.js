/**
 * The first thing every npm script runs: `node local/bootstrap.js <entry.ts> …args`. On a machine with nothing but
 * Node 20 and npm it fetches Node 24 and the dependencies, then hands over to the entry and passes on its exit code.
 * It prints on stderr only, and only when there is something to do. It does not know what the entry does.
 */
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { areDependenciesInstalled, installDependencies } from './dependencies.js'
import { fetchNode, findNode } from './node-binary.js'
import { waitForLock } from './pid-lock.js'
import { describeProcess, identityOf, isRunning } from './process-identity.js'

const root = resolve(fileURLToPath(import.meta.url), '..', '..')
const lockPath = join(root, '.node', 'install.lock')
/** Longer than any install; a lock held longer means something hangs. */
const lockDeadlineMs = 15 * 60_000
const npmPollMs = 500
/** The entry stops within 10 s of a SIGTERM; what is still there after that is killed. */
const orphanGraceMs = 12_000

const [entry, ...args] = process.argv.slice(2)
if (entry === undefined) fail('usage: node local/bootstrap.js <entry.ts> …args')
try {
  runEntry(await prepare(), entry, args)
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}

/** @returns {Promise<string>} the Node to run the entry with, once everything is installed */
async function prepare() {
  const ready = findNode(root)
  if (ready !== undefined && areDependenciesInstalled(root)) return ready
  const release = await waitForLock(lockPath, {
    deadlineMs: lockDeadlineMs,
    onWait: (pid) => process.stderr.write(`  · waiting for process ${pid}, which is installing in this checkout\n`),
  })
  try {
    // Whoever held the lock before us may have done it all: look again.
    const node = findNode(root) ?? (await timed('Node 24 (npm install)', () => fetchNode(root)))
    if (!areDependenciesInstalled(root)) await timed('dependencies (npm ci)', () => installDependencies(node, root))
    return node
  } finally {
    release()
  }
}

/**
 * @template T
 * @param {string} step
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function timed(step, work) {
  const startedAt = performance.now()
  process.stderr.write(`  · ${step} …\n`)
  const result = await work()
  process.stderr.write(`  ✓ ${step} ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  return result
}

/**
 * The entry gets an IPC channel it need not use: when this process dies, even by SIGKILL, the entry sees it close.
 * @param {string} node
 * @param {string} script
 * @param {string[]} rest
 */
function runEntry(node, script, rest) {
  const child = spawn(node, [join(root, script), ...rest], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
  child.once('error', (error) => fail(`Cannot run ${node}: ${error.message}`))
  // A Ctrl-C in a terminal reaches the entry directly as well: an entry takes a repeated signal as one.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal))
  }
  const watch = watchNpm(() => {
    child.kill('SIGTERM')
    setTimeout(() => child.kill('SIGKILL'), orphanGraceMs).unref()
  })
  child.once('exit', (code, signal) => {
    clearInterval(watch)
    process.exit(signal === null ? (code ?? 1) : 128 + (signal === 'SIGINT' ? 2 : signal === 'SIGTERM' ? 15 : 9))
  })
}

/**
 * npm that was killed does not take us with it; we notice. Run by hand, without npm, an exiting shell is no reason to stop.
 * @param {() => void} onGone
 */
function watchNpm(onGone) {
  const npm = process.env['npm_lifecycle_event'] === undefined ? undefined : npmAboveUs()
  if (npm === undefined) return undefined
  const watch = setInterval(() => {
    if (isRunning(npm)) return
    clearInterval(watch)
    onGone()
  }, npmPollMs)
  return watch
}

/** npm runs scripts through a shell; some shells make way for the script's command, others stay in between. */
function npmAboveUs() {
  const parent = describeProcess(process.ppid)
  if (parent === undefined) return undefined
  const isShell = /^-?(sh|dash|bash|zsh|ksh|ash|busybox)$/.test(parent.name)
  return identityOf(isShell ? parent.parentPid : process.ppid)
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  process.stderr.write(`\n  ✗ ${message}\n`)
  process.exit(1)
}
