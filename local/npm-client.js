/**
 * Runs the npm that started us, quietly: its output is shown only when it fails. Runs on Node 20, before anything is
 * installed; does not know what is being installed or why.
 */
import { spawn } from 'node:child_process'
import { basename } from 'node:path'
import process from 'node:process'

/** Settings of an outer `npm run --silent` or of NODE_ENV=production must not change what gets installed or reported. */
const fixedOptions = [
  '--ignore-scripts',
  '--include=dev',
  '--no-audit',
  '--no-fund',
  '--no-progress',
  '--loglevel=warn',
]
/** Enough for npm's reason and what belongs to it. */
const shownLinesMax = 25
const outputCharsMax = 1_000_000

/**
 * @param {string} nodePath the Node to run npm with
 * @param {string} root where to run it
 * @param {string[]} args
 * @returns {Promise<void>} rejects with npm's own reason when it fails
 */
export function runNpm(nodePath, root, args) {
  const ours = process.env['npm_execpath']
  const runsUs = ours !== undefined && /^npm(-cli)?(\.c?js)?$/.test(basename(ours))
  const [command, first] = runsUs ? [nodePath, [ours]] : ['npm', []]
  const child = spawn(command, [...first, ...args, ...fixedOptions], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const lines = errorLines(child)
  const stopListening = passSignalsOn(child)
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      stopListening()
      reject(new Error(`Cannot run npm (${error.message}). Install npm, then run this again.`))
    })
    child.once('close', (code) => {
      stopListening()
      if (code === 0) resolve()
      else reject(new Error(`npm ${args.join(' ')} failed:\n\n${lines().join('\n')}\n`))
    })
  })
}

/**
 * npm's reason comes first, its usage text or advice after it.
 * @param {import('node:child_process').ChildProcessByStdio<null, import('node:stream').Readable, import('node:stream').Readable>} child
 */
function errorLines(child) {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (/** @type {string} */ text) => {
      if (output.length < outputCharsMax) output += text
    })
  }
  return () => {
    const lines = output.trimEnd().split('\n')
    const errors = lines.filter((line) => /^npm (error|ERR!)/.test(line))
    return (errors.length > 0 ? errors : lines).slice(0, shownLinesMax)
  }
}

/**
 * An install that is interrupted must not go on alone behind the next one's back.
 * @param {import('node:child_process').ChildProcess} child
 * @returns {() => void} stops listening
 */
function passSignalsOn(child) {
  /** @param {NodeJS.Signals} signal */
  const pass = (signal) => {
    child.once('close', () => process.exit(signal === 'SIGINT' ? 130 : 143))
    child.kill('SIGTERM')
  }
  process.on('SIGINT', pass)
  process.on('SIGTERM', pass)
  return () => {
    process.off('SIGINT', pass)
    process.off('SIGTERM', pass)
  }
}
