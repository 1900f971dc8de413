/**
 * Which process a pid means: a pid together with the moment its process started, so that a reused pid is never mistaken
 * for the process it once named. Runs on Node 20, before anything is installed; knows nothing of Axle.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/**
 * `startTime` is opaque: only equality means something. On Linux it is boot id and clock ticks since that boot,
 * elsewhere what `ps` prints.
 * @typedef {{ pid: number, startTime: string }} ProcessIdentity
 */

/**
 * @param {number} pid
 * @returns {string | undefined} undefined when no such process runs (a zombie no longer does)
 */
export function startTimeOf(pid) {
  return process.platform === 'linux' ? startTimeOnLinux(pid) : startTimeFromPs(pid)
}

/**
 * @param {ProcessIdentity} identity
 * @returns {boolean}
 */
export function isRunning(identity) {
  return startTimeOf(identity.pid) === identity.startTime
}

/**
 * @param {number} pid
 * @returns {ProcessIdentity | undefined}
 */
export function identityOf(pid) {
  const startTime = startTimeOf(pid)
  return startTime === undefined ? undefined : { pid, startTime }
}

/** @returns {ProcessIdentity} */
export function ownIdentity() {
  const identity = identityOf(process.pid)
  if (identity === undefined) throw new Error(`Cannot read the start time of this process (pid ${process.pid})`)
  return identity
}

/**
 * @param {number} pid
 * @returns {{ name: string, parentPid: number } | undefined}
 */
export function describeProcess(pid) {
  if (process.platform === 'linux') {
    const stat = readLinuxStat(pid)
    return stat && { name: stat.name, parentPid: stat.parentPid }
  }
  try {
    const line = execFileSync('ps', ['-o', 'ppid=,comm=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    const [parentPid, ...name] = line.split(/\s+/)
    return { name: name.join(' ').replace(/^.*\//, ''), parentPid: Number(parentPid) }
  } catch {
    return undefined // ps exits 1 when there is no such process
  }
}

/**
 * The fields of `/proc/<pid>/stat` after the command name, which may itself hold spaces and parentheses:
 * state is the first (field 3 of proc(5)), then parent (4) and process group (5); start time is the twentieth (22).
 * @param {number} pid
 * @returns {{ name: string, state: string, parentPid: number, group: number, startTicks: string } | undefined}
 */
export function readLinuxStat(pid) {
  let stat
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined // no such process
  }
  const nameEnd = stat.lastIndexOf(')')
  const name = stat.slice(stat.indexOf('(') + 1, nameEnd)
  const fields = stat.slice(nameEnd + 2).split(' ')
  const [state = '', parentPid, group] = fields
  return { name, state, parentPid: Number(parentPid), group: Number(group), startTicks: fields[19] ?? '' }
}

/**
 * What `startTime` is where /proc is not mounted (a bare chroot): enough for a lock, whose holder is never killed;
 * not enough to end a process by.
 */
export const unknownStartTime = 'unknown'

/** @param {number} pid */
function startTimeOnLinux(pid) {
  const stat = readLinuxStat(pid)
  if (stat === undefined && !existsSync('/proc/self/stat')) return canBeSignalled(pid) ? unknownStartTime : undefined
  if (stat === undefined || stat.state === 'Z' || stat.state === 'X') return undefined
  return `${bootId()}/${stat.startTicks}`
}

/** @param {number} pid */
function canBeSignalled(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false // no such process, or another user's
  }
}

/** Ticks count from boot, so without the boot's name a process of an earlier boot could look like one of today. */
function bootId() {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return 'unknown-boot' // some sandboxes hide it: then only the ticks tell
  }
}

/** @param {number} pid */
function startTimeFromPs(pid) {
  try {
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '')
  } catch {
    return undefined // ps exits 1 when there is no such process
  }
}
