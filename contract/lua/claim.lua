-- Makes the caller the job's one writer by raising the epoch; every earlier holder is fenced from then on.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 fair  8 revoked  9 clock offset
-- ARGV  1 job id  2 worker id  3 record TTL, ms  4 rows at most
-- Returns {'claimed', field, value, …} with the whole record | {'missing'} | {'terminal'} | {'revoked'} | {'cancelled'}
-- Guarantees: accepted, queued and running jobs can be claimed; a revoked key's or a cancelled job is ended here.
--@include clock
--@include state
--@include end-job

local status = redis.call('HGET', KEYS[1], 'status')
if not status then return { 'missing' } end
if terminal[status] then return { 'terminal' } end

local function refuse(end_status, error)
  end_job(
    { job = KEYS[1], log = KEYS[2], open = KEYS[3], lane_load = KEYS[4], usage = KEYS[5], outbox = KEYS[6] },
    {
      job_id = ARGV[1], status = end_status, finish_reasons = '[]', error = error, prompt_tokens = 0, cached_tokens = 0,
      now = now_ms(KEYS[9]), record_ttl_ms = ARGV[3], rows_max = ARGV[4],
    }
  )
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)
end

if redis.call('HGET', KEYS[1], 'cancel') == '1' then
  refuse('cancelled', 'null')
  return { 'cancelled' }
end
if redis.call('SISMEMBER', KEYS[8], redis.call('HGET', KEYS[1], 'keyId')) == 1 then
  refuse('failed', '{"code":"key_revoked","message":"The API key was revoked before the request started.","param":null}')
  return { 'revoked' }
end

local start_tag = tonumber(redis.call('HGET', KEYS[1], 'startTag'))
if start_tag > tonumber(redis.call('HGET', KEYS[7], 'virtual') or '0') then
  redis.call('HSET', KEYS[7], 'virtual', start_tag)
end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'status', 'running', 'workerId', ARGV[2])
local record = redis.call('HGETALL', KEYS[1])
table.insert(record, 1, 'claimed')
return record
