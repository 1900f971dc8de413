-- Ends a job that has been open for too long, whoever holds it, or that cannot be run to its end.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 fair  8 cell  9 clock offset
--       and the quota that the record names
-- ARGV  1 job id  2 age at most, ms  3 error (JSON)  4 outbox rows at most
-- Returns 'expired' | 'young' | 'terminal' | 'missing' (then its place in the open set is cleared)
--         | 'discarded' (its keys hold no job that could end: they are gone)
-- Guarantees: the epoch grows, so a worker that still runs the job is fenced. Whatever its keys hold, the job is over.
--@include clock
--@include state
--@include month
--@include window
--@include quota
--@include fair
--@include leave-queue
--@include end-job
--@include end-keys

local function discard()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 'discarded'
end

local record = redis.pcall('HMGET', KEYS[1], 'status', 'admittedAtMs')
if record.err then return discard() end
if not record[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 'missing'
end
if terminal[record[1]] then return 'terminal' end
local now = now_ms(KEYS[9])
if now - (tonumber(record[2]) or 0) < tonumber(ARGV[2]) then return 'young' end
local has_ended = pcall(end_job, end_keys, {
  job_id = ARGV[1], status = 'expired', finish_reasons = '[]', error = ARGV[3], prompt_tokens = -1, cached_tokens = 0,
  now = now, outbox_rows_max = ARGV[4],
})
if not has_ended then return discard() end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 'expired'
