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
      'seed-spend': read('seed-spend'),
      rebase: read('rebase'),
    },
    includes: {
      clock: read('include/clock'),
      state: read('include/state'),
      month: read('include/month'),
      window: read('include/window'),
      quota: read('include/quota'),
      fair: read('include/fair'),
      'leave-queue': read('include/leave-queue'),
      'swap-reservation': read('include/swap-reservation'),
      'end-job': read('include/end-job'),
      'end-keys': read('include/end-keys'),
      'admit-writes': read('include/admit-writes'),
    },
  }
}
