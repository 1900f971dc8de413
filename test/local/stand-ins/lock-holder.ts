/** Takes the lock named by its argument, says whether it got it, and stays. */
import { takeLock } from '../../../local/pid-lock.js'

process.send?.(takeLock(process.argv[2] ?? '').kind)
process.once('disconnect', () => process.exit(0))
