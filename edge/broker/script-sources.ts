/** The script sources as the bundle holds them: the same files that Node processes read from disk. */
import admit from '../../contract/lua/admit.lua'
import append from '../../contract/lua/append.lua'
import cancel from '../../contract/lua/cancel.lua'
import claim from '../../contract/lua/claim.lua'
import expire from '../../contract/lua/expire.lua'
import finish from '../../contract/lua/finish.lua'
import admitWrites from '../../contract/lua/include/admit-writes.lua'
import clock from '../../contract/lua/include/clock.lua'
import endJob from '../../contract/lua/include/end-job.lua'
import endKeys from '../../contract/lua/include/end-keys.lua'
import fair from '../../contract/lua/include/fair.lua'
import leaveQueue from '../../contract/lua/include/leave-queue.lua'
import month from '../../contract/lua/include/month.lua'
import quota from '../../contract/lua/include/quota.lua'
import state from '../../contract/lua/include/state.lua'
import swapReservation from '../../contract/lua/include/swap-reservation.lua'
import window from '../../contract/lua/include/window.lua'
import queued from '../../contract/lua/queued.lua'
import rebase from '../../contract/lua/rebase.lua'
import seedSpend from '../../contract/lua/seed-spend.lua'
import type { ScriptSources } from '../../contract/scripts.ts'

export const scriptSources: ScriptSources = {
  scripts: { admit, queued, claim, append, finish, cancel, expire, 'seed-spend': seedSpend, rebase },
  includes: {
    clock,
    state,
    month,
    window,
    quota,
    fair,
    'leave-queue': leaveQueue,
    'swap-reservation': swapReservation,
    'end-job': endJob,
    'end-keys': endKeys,
    'admit-writes': admitWrites,
  },
}
