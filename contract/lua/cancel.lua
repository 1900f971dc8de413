-- Asks for a job's end. A job nobody runs yet ends at once; a running one is told through the flag and the channel.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 fair  8 cell  9 clock offset
--       and the quota that the record names
-- ARGV  1 job id  2 cancel channel  3 outbox rows at most
-- Returns 'cancelled' (ended now) | 'cancelling' (its worker will) | 'terminal' | 'missing'
-- Guarantees: repeating it changes nothing. The flag is read at claim and at every append, should the message be lost.
--@include clock
--@include state
--@include month
--@include window
--@include quota
--@include fair
--@include leave-queue
--@include end-job
--@include end-keys

local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'missing' end
if terminal[status] then return 'terminal' end
if status == 'running' then
  redis.call('HSET', KEYS[1], 'cancel', 1)
  redis.call('PUBLISH', ARGV[2], ARGV[1])
  return 'cancelling'
end
end_job(end_keys, {
  job_id = ARGV[1], status = 'cancelled', finish_reasons = '[]', error = 'null', prompt_tokens = -1, cached_tokens = 0,
  now = now_ms(KEYS[9]), outbox_rows_max = ARGV[3],
})
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 'cancelled'
