-- Takes a request in, or says why not. Everything or nothing; a repeat under one idempotency key finds the first job.
--
-- KEYS  1 job  2 idempotency slot (the job key again when the client sent no key)  3 open  4 lane load  5 fair
--       6 revoked  7 clock offset
-- ARGV  1 job id  2 tenant id  3 key id  4 model  5 isThinking 0|1  6 isBackground 0|1  7 seed  8 request (JSON)
--       9 live channel  10 lane count  11 cost, tokens at the worst case  12 fingerprint of the body, '' without a slot
--       13 idempotency TTL, ms  14 open jobs at most  15 tokens a priority step  16 highest priority
-- Returns {'admitted', lane, priority} | {'replay', job id} | {'reused'} | {'revoked'} | {'full', open jobs}
-- Guarantees: the record exists before any BullMQ job; a slot points at exactly one job; start tags of a tenant grow.
--@include clock

local has_slot = ARGV[12] ~= ''
if has_slot then
  local slot = redis.call('GET', KEYS[2])
  if slot then
    local job_id, fingerprint = string.match(slot, '^(%S+) (%S+)$')
    if fingerprint ~= ARGV[12] then return { 'reused' } end
    return { 'replay', job_id }
  end
end
if redis.call('SISMEMBER', KEYS[6], ARGV[3]) == 1 then return { 'revoked' } end
local open = redis.call('ZCARD', KEYS[3])
if open >= tonumber(ARGV[14]) then return { 'full', open } end

-- First of the writes: a full Redis refuses it, and with it the job. After a DEL it would let all others pass.
local now = now_ms(KEYS[7])
redis.call('ZADD', KEYS[3], now, ARGV[1])
-- An idle cell has no load and no history to be fair about: what lost records left behind ends here.
if open == 0 then redis.call('DEL', KEYS[4], KEYS[5]) end

-- Least-loaded lane; the lowest index among equals.
local lane, least = 0, math.huge
for candidate = 0, tonumber(ARGV[10]) - 1 do
  local load = tonumber(redis.call('HGET', KEYS[4], candidate) or '0')
  if load < least then lane, least = candidate, load end
end

-- Start-time fair queueing over tenants (Goyal, Vin, Cheng 1996): start = max(virtual time, tenant's last finish tag).
local tags = redis.call('HMGET', KEYS[5], 'virtual', 'tenant:' .. ARGV[2])
local start_tag = math.max(tonumber(tags[1] or '0'), tonumber(tags[2] or '0'))
redis.call('HSET', KEYS[5], 'tenant:' .. ARGV[2], start_tag + tonumber(ARGV[11]))
local priority = math.min(1 + math.floor(start_tag / tonumber(ARGV[15])), tonumber(ARGV[16]))

redis.call('HSET', KEYS[1],
  'status', 'accepted', 'tenantId', ARGV[2], 'keyId', ARGV[3], 'model', ARGV[4], 'isThinking', ARGV[5],
  'isBackground', ARGV[6], 'seed', ARGV[7], 'request', ARGV[8], 'live', ARGV[9], 'lane', lane, 'priority', priority,
  'startTag', start_tag, 'epoch', 0, 'entryCount', 0, 'completionTokens', 0, 'reasoningTokens', 0, 'cancel', 0,
  'admittedAtMs', now)
redis.call('HINCRBY', KEYS[4], lane, 1)
if has_slot then redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[12], 'PX', ARGV[13]) end
return { 'admitted', lane, priority }
