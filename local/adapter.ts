/**
 * A WebGPU adapter that Dawn accepts: found, or brought by installing Mesa's software Vulkan (lavapipe). It does not know
 * what will run on the adapter; the GPU worker asks for its own.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type AptRequest, aptCommands, aptInstall, canInstallWithApt, hasApt } from './apt.ts'
import { Failure } from './failure.ts'
import type { Detail } from './progress.ts'

/** Dawn refuses the lavapipe of Mesa 22.3, which is Debian 12's own; 25.0 from its backports works. */
const lavapipe: AptRequest = { packages: ['mesa-vulkan-drivers', 'libvulkan1'], fromBackports: true }
const probeDeadlineMs = 30_000
const shownLinesMax = 8

type Probed =
  | { readonly kind: 'found'; readonly name: string }
  /** `reason` is what the driver or Dawn printed; often empty. */
  | { readonly kind: 'none'; readonly reason: string }

/**
 * @returns the adapter's name
 * @throws Failure saying what to install, where we cannot do it ourselves.
 */
export async function ensureAdapter(detail: Detail): Promise<{ result: string; outcome: string }> {
  const found = await probe()
  if (found.kind === 'found') return { result: found.name, outcome: found.name }
  if (!canInstallWithApt()) throw noAdapter(found.reason, installByHand())
  await aptInstall(lavapipe, detail)
  const installed = await probe()
  if (installed.kind === 'found') {
    return { result: installed.name, outcome: `${installed.name}, installed with apt-get` }
  }
  throw noAdapter(
    installed.reason,
    `${lavapipe.packages.join(' and ')} are installed, but too old or broken.\n${needed}`,
  )
}

const needed = 'Axle needs a GPU with a Vulkan 1.1 driver (or Metal on a Mac), or Mesa 24 or newer for the CPU.'

function noAdapter(reason: string, wayOut: string): Failure {
  return new Failure(`No WebGPU adapter that Dawn accepts.${reason === '' ? '' : `\n${reason}`}`, wayOut)
}

function installByHand(): string {
  if (process.platform !== 'linux') return needed
  if (hasApt())
    return `Install a software Vulkan driver (or run this as root, which does it):\n${aptCommands(lavapipe)}`
  return [
    `${needed} For the CPU, install Mesa's software Vulkan driver:`,
    'Fedora, RHEL   sudo dnf install mesa-vulkan-drivers vulkan-loader',
    'Arch           sudo pacman -S vulkan-swrast vulkan-icd-loader',
    'openSUSE       sudo zypper install libvulkan_lvp libvulkan1',
  ].join('\n')
}

async function probe(): Promise<Probed> {
  try {
    const script = `${import.meta.dirname}/adapter-probe.ts`
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [script], { timeout: probeDeadlineMs })
    const name: unknown = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
    return typeof name === 'string' ? { kind: 'found', name } : { kind: 'none', reason: shown(stderr) }
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error)
    return { kind: 'none', reason: shown(output) }
  }
}

function shown(output: string): string {
  return output
    .trim()
    .split('\n')
    .filter((line) => !/XDG_RUNTIME_DIR|artificially reduced|^ +at /.test(line))
    .slice(0, shownLinesMax)
    .join('\n')
}
