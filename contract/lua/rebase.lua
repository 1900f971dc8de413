-- Moves the zero of priorities up to virtual time once they grow large. Waiting jobs are the janitor's to follow up.
--
-- KEYS  1 fair
-- ARGV  1 steps from which on the base moves  2 tokens a step
-- Returns {base, 1 when it moved, else 0}
local tags = redis.call('HMGET', KEYS[1], 'virtual', 'base')
local virtual, base, step = tonumber(tags[1] or '0'), tonumber(tags[2] or '0'), tonumber(ARGV[2])
if (virtual - base) / step < tonumber(ARGV[1]) then return { base, 0 } end
base = math.floor(virtual / step) * step
redis.call('HSET', KEYS[1], 'base', base)
return { base, 1 }
