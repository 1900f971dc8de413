-- Ends a job that has been open for too long, whoever holds it. Only the janitor calls it.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 clock offset
-- ARGV  1 job id  2 age at most, ms  3 error (JSON)  4 record TTL, ms  5 rows at most
-- Returns 'expired' | 'young' | 'terminal' | 'missing' (then its place in the open set is cleared)
-- Guarantees: the epoch grows, so a worker that still runs the job is fenced.
--@include clock
--@include state
--@include end-job

local record = redis.call('HMGET', KEYS[1], 'status', 'admittedAtMs')
if not record[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return 'missing'
end
if terminal[record[1]] then return 'terminal' end
local now = now_ms(KEYS[7])
if now - tonumber(record[2]) < tonumber(ARGV[2]) then return 'young' end
end_job(
  { job = KEYS[1], log = KEYS[2], open = KEYS[3], lane_load = KEYS[4], usage = KEYS[5], outbox = KEYS[6] },
  {
    job_id = ARGV[1], status = 'expired', finish_reasons = '[]', error = ARGV[3], prompt_tokens = 0, cached_tokens = 0,
    now = now, record_ttl_ms = ARGV[4], rows_max = ARGV[5],
  }
)
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 'expired'
