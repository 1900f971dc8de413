-- Ends a running job, once, from its one writer.
--
-- KEYS  1 job  2 log  3 open  4 lane load  5 usage  6 outbox  7 fair  8 cell  9 clock offset
--       and the quota that the record names
-- ARGV  1 job id  2 epoch  3 status  4 finish reasons (JSON)  5 error (JSON or null)  6 prompt tokens  7 cached tokens
--       8 outbox rows at most
-- Returns 'ok' | 'fenced' | 'missing'
-- Guarantees: I4, I6, I7. Finishing again under the same epoch is 'ok' and changes nothing: the reply was lost.
--@include clock
--@include state
--@include month
--@include window
--@include quota
--@include fair
--@include leave-queue
--@include end-job
--@include end-keys

local record = redis.call('HMGET', KEYS[1], 'status', 'epoch')
if not record[1] then return 'missing' end
if record[2] ~= ARGV[2] then return 'fenced' end
if terminal[record[1]] then return 'ok' end
if record[1] ~= 'running' then return 'fenced' end
end_job(end_keys, {
  job_id = ARGV[1], status = ARGV[3], finish_reasons = ARGV[4], error = ARGV[5], prompt_tokens = tonumber(ARGV[6]),
  cached_tokens = tonumber(ARGV[7]), now = now_ms(KEYS[9]), outbox_rows_max = ARGV[8],
})
return 'ok'
