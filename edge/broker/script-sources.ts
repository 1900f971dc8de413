/** The script sources as the bundle holds them: the same files that Node processes read from disk. */
import admit from '../../contract/lua/admit.lua'
import append from '../../contract/lua/append.lua'
import cancel from '../../contract/lua/cancel.lua'
import claim from '../../contract/lua/claim.lua'
import expire from '../../contract/lua/expire.lua'
import finish from '../../contract/lua/finish.lua'
import clock from '../../contract/lua/include/clock.lua'
import endJob from '../../contract/lua/include/end-job.lua'
import state from '../../contract/lua/include/state.lua'
import queued from '../../contract/lua/queued.lua'
import type { ScriptSources } from '../../contract/scripts.ts'

export const scriptSources: ScriptSources = {
  scripts: { admit, queued, claim, append, finish, cancel, expire },
  includes: { clock, state, 'end-job': endJob },
}
