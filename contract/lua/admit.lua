-- Takes a request in, or says why not. Everything or nothing; a repeat under one idempotency key finds the first job.
--
-- KEYS  1 job  2 idempotency slot (the job key again when the client sent no key)  3 open  4 lane load  5 fair
--       6 revoked  7 clock offset  8 quota of the tenant  9 cell  10 usage
-- ARGV  1 job id  2 tenant id  3 key id  4 model  5 isThinking 0|1  6 isBackground 0|1  7 seed  8 request (JSON)
--       9 live channel  10 lane count  11 fingerprint of the body, '' without a slot  12 terms (JSON; contract/admission.ts)
-- Returns {'admitted', lane, priority, …rate} | {'replay', job id, …rate} | {'reused'} | {'revoked'} | {'expired'}
--         | {'limited', reason, ms until a retry may help or -1, …rate} | {'over-budget', …rate}
--         | {'budget-unknown', month} | {'full', reason, ms until a retry may help, …rate}
--         rate: remaining requests, ms until all are back, remaining tokens, ms until all are back
-- Guarantees: the record exists before any BullMQ job; a slot points at exactly one job; start tags of a flow grow; in no
-- sliding 60 s more requests or tokens than the limits; spent and reserved money never above the budget. A refusal
-- writes nothing, unless Redis's clock went back (include/window.lua) or the quota key held something else.
--@include clock
--@include month
--@include window
--@include quota
--@include fair

local terms = cjson.decode(ARGV[12])
local earlier
if ARGV[11] ~= '' then
  local slot = redis.call('GET', KEYS[2])
  if slot then
    local job_id, fingerprint = string.match(slot, '^(%S+) (%S+)$')
    if fingerprint ~= ARGV[11] then return { 'reused' } end
    earlier = job_id
  end
end
if redis.call('SISMEMBER', KEYS[6], ARGV[3]) + redis.call('SISMEMBER', KEYS[6], ARGV[2]) > 0 then return { 'revoked' } end
local now = now_ms(KEYS[7])
if terms.keyExpiresAtMs > 0 and now >= terms.keyExpiresAtMs then return { 'expired' } end

local open = redis.call('ZCARD', KEYS[3])
local cell = redis.call('HMGET', KEYS[9], 'generation', 'queuedFair', 'busySinceMs', 'waitingWeight', 'queued:priority')
local generation, queued_fair = cell[1] or '0', tonumber(cell[2]) or 0
-- An idle cell has no load, no queue and no history to be fair about: what lost records left behind ends here.
local is_idle = open == 0
if is_idle then generation, queued_fair = string.format('%d', generation + 1), 0 end
quota_heal(KEYS[8])
local quota = quota_read(KEYS[8], generation)
local month = month_of(now)
quota_roll(quota, month)
-- A short prompt leaves more of the context to the answer: tokens are bounded by it together, money by each alone.
local tokens = math.min(terms.promptTokensMax + terms.answerTokensMax, terms.contextTokens)
local nano = worst_nano(terms.promptTokensMax, terms.answerTokensMax, terms.priceInput, terms.priceCached, terms.priceOutput)
local r, t, s = window_read(KEYS[8], 'r', now), window_read(KEYS[8], 't', now), window_read(KEYS[9], 's', now)

local function rated(reply, requests, taken)
  local function reset(w, added)
    return w.sum + added > 0 and window_resets_in(w, added > 0, now) or 0
  end
  for _, value in ipairs({
    math.max(0, terms.requestsPerMinute - r.sum - requests), reset(r, requests),
    math.max(0, terms.tokensPerMinute - t.sum - taken), reset(t, taken),
  }) do
    table.insert(reply, value)
  end
  return reply
end
if earlier then return rated({ 'replay', earlier }, 0, 0) end
local function limited(reason, retry_ms)
  return rated({ 'limited', reason, math.floor(retry_ms) }, 0, 0)
end
-- Expected tokens that left the queue for a worker, a second of the last minute. Only a queue that has not been empty for
-- a while tells what the cell can do; before that, and when nothing left, it is not known (nil).
local busy_seconds = queued_fair > 0 and (now - (tonumber(cell[3]) or now)) / 1000 or 0
local window_seconds = now / 1000 - s.second + window_buckets - 1
local rate = busy_seconds >= 10 and s.sum > 0 and s.sum / math.min(busy_seconds, window_seconds) or nil
local soon_ms = 1000
local function drained_in(excess)
  return math.min(math.max(soon_ms, rate and excess / rate * 1000 or soon_ms), terms.retryAfterMaxMs)
end

if tokens > terms.tokensPerMinute then return limited('tokens', -1) end
local excess = r.sum + 1 - terms.requestsPerMinute
if excess > 0 then
  return limited('requests', terms.requestsPerMinute == 0 and -1 or window_frees_in(KEYS[8], 'r', r, excess, now))
end
excess = t.sum + tokens - terms.tokensPerMinute
if excess > 0 then return limited('tokens', window_frees_in(KEYS[8], 't', t, excess, now)) end
if quota.openJobs >= terms.concurrentRequestsMax then
  return limited('concurrency', terms.concurrentRequestsMax == 0 and -1 or soon_ms)
end
if quota.queuedJobs >= terms.queuedJobsMax then
  return limited('queued-jobs', terms.queuedJobsMax == 0 and -1 or soon_ms)
end
excess = quota.queuedTokens + tokens - terms.queuedTokensMax
if excess > 0 then return limited('queued-tokens', tokens > terms.queuedTokensMax and -1 or drained_in(excess)) end
if terms.monthlyBudgetNano >= 0 then
  if quota.month == 0 then return { 'budget-unknown', month } end
  if quota.spentNano + quota.reservedNano + nano > terms.monthlyBudgetNano then return rated({ 'over-budget' }, 0, 0) end
end
if open >= terms.openJobsMax then return rated({ 'full', 'jobs', 2000 }, 0, 0) end
if redis.call('XLEN', KEYS[10]) + open >= terms.undrainedRowsMax then return rated({ 'full', 'undrained', 60000 }, 0, 0) end
-- Ahead of it is what its tenant has waiting and, by weight, as much of the others: who floods is shed, nobody else.
-- What a better tier may pass waits for all.
local ahead, has_better = queued_fair, terms.tier ~= 'default' or (tonumber(cell[5]) or 0) > 0
if terms.tier == 'priority' or not has_better then
  ahead = math.min(ahead, quota.queuedFair * (tonumber(cell[4]) or 0) / terms.weightMilli)
end
local wait_ms = rate and ahead / rate * 1000 or 0
if wait_ms > terms.waitMaxMs then
  -- A rate is measured by whole jobs and so some hundredths off: who returns exactly then is to be let in.
  local excess_ms = wait_ms * 1.03 - terms.waitMaxMs
  return rated({ 'full', 'wait', math.floor(drained_in(excess_ms / 1000 * rate)) }, 0, 0)
end

-- First of the writes: a full Redis refuses it, and with it the job. After a DEL it would let all others pass.
redis.call('ZADD', KEYS[3], now, ARGV[1])
--@include admit-writes
