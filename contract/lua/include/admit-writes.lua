-- The second half of admit.lua, for which all checks have passed.
if is_idle then
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('HSET', KEYS[9], 'generation', generation, 'queuedFair', 0, 'waitingWeight', 0)
  redis.call('HDEL', KEYS[9], 'queued:priority', 'queued:default', 'queued:flex', 'queued:batch')
end
-- Also when the clock went back: the queue's rate would else be unknown until it has caught up.
if queued_fair == 0 or (tonumber(cell[3]) or 0) > now then redis.call('HSET', KEYS[9], 'busySinceMs', now) end
window_add(KEYS[8], 'r', r, 1)
window_add(KEYS[8], 't', t, tokens)
if quota.queuedJobs == 0 then
  quota.waitingWeight = terms.weightMilli
  redis.call('HINCRBY', KEYS[9], 'waitingWeight', terms.weightMilli)
end
quota.queuedFair = quota.queuedFair + terms.fairTokens
quota.openJobs, quota.queuedJobs = quota.openJobs + 1, quota.queuedJobs + 1
quota.queuedTokens, quota.reservedNano = quota.queuedTokens + tokens, quota.reservedNano + nano
quota_write(KEYS[8], generation, quota)
local is_first_of_tier = redis.call('HINCRBY', KEYS[9], 'queued:' .. terms.tier, 1) == 1
redis.call('HINCRBY', KEYS[9], 'queuedFair', terms.fairTokens)
redis.call('HINCRBY', KEYS[9], 'admitted:' .. terms.tier, 1)

-- Least-loaded lane; the lowest index among equals.
local lane, least = 0, math.huge
for candidate = 0, tonumber(ARGV[10]) - 1 do
  local load = tonumber(redis.call('HGET', KEYS[4], candidate) or '0')
  if load < least then lane, least = candidate, load end
end
redis.call('HINCRBY', KEYS[4], lane, 1)

local flow, tier_virtual = fair_flow(ARGV[2], terms.tier), 'virtual:' .. terms.tier
local tags = redis.call('HMGET', KEYS[5], 'virtual', tier_virtual, flow, 'last:' .. flow, 'base')
local function tag(i) return tonumber(tags[i] or '0') end
local newcomer = fair_newcomer(tag(1), is_first_of_tier and tag(1) or tag(2), terms.tierOffset, terms.tokensPerPriority)
if is_first_of_tier then redis.call('HSET', KEYS[5], tier_virtual, newcomer) end
-- Corrections may take the finish tag below the last start; a flow stays first come, first served all the same.
local start_tag = math.max(newcomer, tag(3), tag(4))
redis.call('HSET', KEYS[5], flow, start_tag + fair_cost(terms.fairTokens, terms.weightMilli), 'last:' .. flow, start_tag)
local queue_tag = start_tag + terms.tierOffset
local priority = fair_priority(queue_tag, tag(5), terms.tokensPerPriority, terms.priorityMax)

redis.call('HSET', KEYS[1],
  'status', 'accepted', 'tenantId', ARGV[2], 'keyId', ARGV[3], 'model', ARGV[4], 'isThinking', ARGV[5],
  'isBackground', ARGV[6], 'seed', ARGV[7], 'request', ARGV[8], 'live', ARGV[9], 'lane', lane, 'priority', priority,
  'startTag', start_tag, 'queueTag', queue_tag, 'epoch', 0, 'entryCount', 0, 'completionTokens', 0, 'reasoningTokens', 0,
  'cancel', 0, 'admittedAtMs', now, 'claimedAtMs', 0, 'tier', terms.tier, 'weightMilli', terms.weightMilli,
  'fairTokens', terms.fairTokens, 'generation', generation, 'quota', KEYS[8], 'keepMs', terms.keepMs,
  'answerTokensMax', terms.answerTokensMax, 'contextTokens', terms.contextTokens,
  'reservedTokens', tokens, 'reservedNano', nano, 'queuedTokens', tokens,
  'priceInput', terms.priceInput, 'priceCached', terms.priceCached, 'priceOutput', terms.priceOutput, 'promptTokens', 0)
if ARGV[11] ~= '' then redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[11], 'PX', terms.slotTtlMs) end
return rated({ 'admitted', lane, priority }, 1, tokens)
