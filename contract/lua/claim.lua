-- Makes the caller the job's one writer by raising the epoch; every earlier holder is fenced from then on.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 fair  8 cell  9 clock offset  10 revoked
--       and the quota that the record names
-- ARGV  1 job id  2 worker id  3 outbox rows at most
-- Returns {'claimed', field, value, …} with the whole record | {'missing'} | {'terminal'} | {'revoked'} | {'cancelled'}
-- Guarantees: accepted, queued and running jobs can be claimed; a revoked key's, a revoked tenant's or a cancelled job is
-- ended here. The first claim leaves the queue's counts and notes how long the job waited.
--@include clock
--@include state
--@include month
--@include window
--@include quota
--@include fair
--@include leave-queue
--@include end-job
--@include end-keys

local now = now_ms(KEYS[9])
local record = {}
local fields = {
  'status', 'cancel', 'keyId', 'tenantId', 'startTag', 'admittedAtMs', 'generation', 'tier', 'fairTokens', 'quota',
  'queuedTokens', 'weightMilli',
}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do record[fields[i]] = value end
if not record.status then return { 'missing' } end
if terminal[record.status] then return { 'terminal' } end

local function refuse(end_status, error)
  end_job(end_keys, {
    job_id = ARGV[1], status = end_status, finish_reasons = '[]', error = error, prompt_tokens = -1, cached_tokens = 0,
    now = now, outbox_rows_max = ARGV[3],
  })
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end

if record.cancel == '1' then
  refuse('cancelled', 'null')
  return { 'cancelled' }
end
if redis.call('SISMEMBER', KEYS[10], record.keyId) + redis.call('SISMEMBER', KEYS[10], record.tenantId) > 0 then
  refuse('failed', '{"code":"key_revoked","message":"The API key was revoked before the request started.","param":null}')
  return { 'revoked' }
end

-- First of the writes, because a full Redis refuses it: then nothing was counted.
if record.status == 'running' then redis.call('HSET', KEYS[1], 'workerId', ARGV[2])
else redis.call('HSET', KEYS[1], 'status', 'running', 'workerId', ARGV[2], 'claimedAtMs', now) end
quota_heal(record.quota)
leave_queue(KEYS[8], record, now)
if record.status ~= 'running' then
  window_add(KEYS[8], 's', window_read(KEYS[8], 's', now), tonumber(record.fairTokens))
  fair_share(KEYS[7], record.tenantId, record.tier, fair_cost(tonumber(record.fairTokens), tonumber(record.weightMilli)))
end
for _, virtual in ipairs({ 'virtual', 'virtual:' .. record.tier }) do
  if tonumber(record.startTag) > tonumber(redis.call('HGET', KEYS[7], virtual) or '0') then
    redis.call('HSET', KEYS[7], virtual, record.startTag)
  end
end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, 'claimed')
return reply
