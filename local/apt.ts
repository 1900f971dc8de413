/**
 * Installing Debian and Ubuntu packages as root, and the words for a person who has to do it. It does not know what the
 * packages are for. A package's service is never left running: we start what we need ourselves.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Failure } from './failure.ts'
import { waitForLock } from './pid-lock.js'
import type { Detail } from './progress.ts'

const run = promisify(execFile)

/** A slow mirror may take minutes; an apt that takes longer hangs. */
const aptDeadlineMs = 10 * 60_000
const shownLinesMax = 12
/** Where only root writes. */
const lockPath = '/run/axle-apt.lock'
const backportsSource = '/etc/apt/sources.list.d/axle-bookworm-backports.sources'
const debianKeyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

export interface AptRequest {
  readonly packages: readonly string[]
  /** Taken from backports on Debian 12, whose own version is too old. */
  readonly fromBackports: boolean
}

export function hasApt(): boolean {
  return process.platform === 'linux' && existsSync('/usr/bin/apt-get')
}

export function canInstallWithApt(): boolean {
  return hasApt() && process.getuid?.() === 0
}

/** The same installation as commands, for a person without root. */
export function aptCommands({ packages, fromBackports }: AptRequest): string {
  if (!(fromBackports && isDebian12())) return `sudo apt-get update && sudo apt-get install ${packages.join(' ')}`
  return [
    `echo 'deb http://deb.debian.org/debian bookworm-backports main' | sudo tee /etc/apt/sources.list.d/bookworm-backports.list`,
    `sudo apt-get update && sudo apt-get install -t bookworm-backports ${packages.join(' ')}`,
  ].join('\n')
}

/** @throws Failure with apt's own reason. */
export async function aptInstall(request: AptRequest, detail: Detail): Promise<void> {
  // apt has locks of its own, but a second `update` fails at once instead of waiting for the first.
  const release = await waitForLock(lockPath, {
    deadlineMs: aptDeadlineMs,
    onWait: (pid) =>
      detail(pid === process.pid ? 'waiting for apt-get' : `waiting for process ${pid}, which uses apt-get`),
  })
  try {
    const useBackports = request.fromBackports && isDebian12()
    if (useBackports && !(await hasBackports())) await addBackports()
    detail('apt-get update')
    // One broken source among many makes update fail although the packages may well be there: install decides.
    const updateError = await apt(['update']).catch((error: unknown) => error)
    detail(`apt-get install ${request.packages.join(' ')}`)
    const target = useBackports ? ['-t', 'bookworm-backports'] : []
    try {
      await apt(['install', '-y', '--no-install-recommends', ...target, ...request.packages])
    } catch (error) {
      const reasons = [updateError, error].filter((reason) => reason !== undefined).map(aptReason)
      throw new Failure(
        `apt-get cannot install ${request.packages.join(' ')}:\n${reasons.join('\n')}`,
        `Install by hand, then start again:\n${aptCommands(request)}`,
        { cause: error },
      )
    }
  } finally {
    release()
  }
}

/** systemd starts what a package brings; `RUNLEVEL=1` keeps only the older init from doing so. */
export async function stopPackagedService(unit: string): Promise<void> {
  if (!existsSync('/run/systemd/system')) return
  await run('systemctl', ['disable', '--now', unit]).catch(() => undefined) // no such unit: nothing to stop
}

async function apt(args: readonly string[]): Promise<void> {
  await run('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', LC_ALL: 'C.UTF-8' },
    timeout: aptDeadlineMs,
    maxBuffer: 16 * 1024 * 1024,
  })
}

function aptReason(error: unknown): string {
  const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error)
  const lines = output.trim().split('\n')
  const errors = lines.filter((line) => /^(E|W): /.test(line))
  return (errors.length > 0 ? errors : lines).slice(0, shownLinesMax).join('\n')
}

async function hasBackports(): Promise<boolean> {
  const { stdout } = await run('apt-cache', ['policy'])
  return stdout.includes('bookworm-backports')
}

/** In a file of its own, from the mirror this system already uses, so that it is easy to see and to remove. */
async function addBackports(): Promise<void> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(RELEASE) $(COMPONENT) $(REPO_URI)'])
  const main = stdout
    .split('\n')
    .map((line) => line.split(' '))
    .find(([release, part]) => release === 'bookworm' && part === 'main')
  const lines = ['Types: deb', `URIs: ${main?.[2] ?? 'http://deb.debian.org/debian'}`]
  lines.push('Suites: bookworm-backports', 'Components: main')
  if (existsSync(debianKeyring)) lines.push(`Signed-By: ${debianKeyring}`)
  writeFileSync(backportsSource, `${lines.join('\n')}\n`)
}

function isDebian12(): boolean {
  try {
    const release = readFileSync('/etc/os-release', 'utf8')
    return /^ID="?debian"?$/m.test(release) && /^VERSION_ID="?12"?$/m.test(release)
  } catch {
    return false // no os-release: not a Debian
  }
}
