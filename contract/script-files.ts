/** The script sources as Node reads them: from the files beside this one. The edge bundles the same files instead. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ScriptSources } from './scripts.ts'

function read(path: string): string {
  return readFileSync(join(import.meta.dirname, 'lua', `${path}.lua`), 'utf8')
}

export function readScriptSources(): ScriptSources {
  return {
    scripts: {
      admit: read('admit'),
      queued: read('queued'),
      claim: read('claim'),
      append: read('append'),
      finish: read('finish'),
      cancel: read('cancel'),
      expire: read('expire'),
    },
    includes: { clock: read('include/clock'), state: read('include/state'), 'end-job': read('include/end-job') },
  }
}
