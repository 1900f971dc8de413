/**
 * `npm start`: claims the data directory, launches everything, stays until told to stop, leaves nothing running.
 * It knows signals and exit codes; what is launched, and in which order, it does not.
 */
import { Crew } from './crew.ts'
import { claimDataDirectory } from './data-directory.ts'
import { describeFailure } from './failure.ts'
import { launch } from './launch.ts'
import { ProcessRecords } from './process-records.ts'
import { Progress } from './progress.ts'
import { removeReadyFile, welcome, writeReadyFile } from './ready.ts'
import { loadSecrets } from './secrets.ts'
import { type Settings, readSettings, settingsHelp } from './settings.ts'

/** A terminal's Ctrl-C arrives twice, from the terminal and from npm; what comes later is a second press. */
const samePressMs = 1_000

if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
  console.log(settingsHelp)
} else {
  await start()
}

async function start(): Promise<void> {
  // A reader that went away (`npm start | head`) is no reason to stop serving.
  process.stdout.on('error', () => undefined)
  process.stderr.on('error', () => undefined)
  const progress = new Progress((line) => console.log(line))
  try {
    const settings = readSettings(process.env)
    console.log(`\n  Starting Axle in ${settings.dataDir}\n`)
    await run(settings, progress)
  } catch (error) {
    console.error(describeFailure(error))
    process.exit(1)
  }
}

async function run(settings: Settings, progress: Progress): Promise<void> {
  const { dataDir } = settings
  const directory = await claimDataDirectory(dataDir)
  if (directory.endedOrphans.length > 0) {
    progress.note(`ended what a killed start had left running: ${directory.endedOrphans.join(', ')}`)
  }
  removeReadyFile(dataDir)
  const records = new ProcessRecords(directory.recordsPath)
  const crew = new Crew({ logDir: directory.logDir, records, report: (line) => progress.note(line) })

  async function stopAndExit(exitCode: number): Promise<never> {
    directory.announceEnd()
    removeReadyFile(dataDir)
    await crew.stop()
    directory.release()
    process.exit(exitCode)
  }

  async function fail(error: unknown): Promise<void> {
    if (crew.isStopping) return // told to stop on the way: what fails after that is the stop itself
    console.error(describeFailure(error))
    await stopAndExit(1)
  }

  stopOnSignal(crew, async (reason) => {
    if (crew.isStopping) return
    console.log(`\n  Stopping (${reason}) …`)
    process.once('exit', () => console.log('  Stopped. Nothing is left running.\n'))
    await stopAndExit(0)
  })
  process.on('uncaughtException', (error) => {
    void fail(error)
  })

  try {
    const { ready, ...surroundings } = await launch(settings, loadSecrets(dataDir), crew, progress)
    if (crew.isStopping) return
    writeReadyFile(dataDir, ready)
    console.log(welcome(ready, { ...surroundings, dataDir, startTime: progress.total() }))
  } catch (error) {
    await fail(error)
  }
}

/** Runs `stop` once, for the first signal or when whoever started us vanished; a second press kills without grace. */
function stopOnSignal(crew: Crew, stop: (reason: string) => Promise<void>): void {
  let stoppingSince: number | undefined
  const begin = (reason: string): void => {
    if (stoppingSince === undefined) {
      stoppingSince = performance.now()
      void stop(reason)
    } else if (performance.now() - stoppingSince > samePressMs) {
      crew.kill()
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, begin)
  process.once('disconnect', () => begin('npm is gone'))
}
