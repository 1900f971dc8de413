-- Notes that BullMQ holds the job, so that the janitor need not add it again.
--
-- KEYS  1 job
-- Returns 1 when the state changed, 0 when the job was already past it (a fast worker) or is gone.
if redis.call('HGET', KEYS[1], 'status') ~= 'accepted' then return 0 end
redis.call('HSET', KEYS[1], 'status', 'queued')
return 1
