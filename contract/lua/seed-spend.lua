-- Tells a tenant's counters what the month has cost so far, once: they were lost, or are new.
--
-- KEYS  1 quota of the tenant  2 clock offset
-- ARGV  1 month, as 202611  2 spent, nano-USD
-- Returns 1 when it was written, 0 when a month is known already or the clock is in another one
--@include clock
--@include month

if redis.call('HEXISTS', KEYS[1], 'month') == 1 or month_of(now_ms(KEYS[2])) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'month', ARGV[1], 'spentNano', ARGV[2])
return 1
