-- Tells a tenant's counters what the month has cost so far, once: they were lost, or are new.
--
-- KEYS  1 quota of the tenant  2 clock offset  3 usage
-- ARGV  1 month, as 202611  2 spent, nano-USD  3 tenant id  4 id of the newest usage row that was looked at for it
-- Returns 1 when it was written, 0 when a month is known already or the clock is in another one
-- Guarantees: rows that came after that one are added, so that a job that ended meanwhile is paid for.
--@include clock
--@include month

if redis.call('HEXISTS', KEYS[1], 'month') == 1 or month_of(now_ms(KEYS[2])) ~= tonumber(ARGV[1]) then return 0 end
local spent = tonumber(ARGV[2])
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. ARGV[4], '+')) do
  local row = {}
  for i = 1, #entry[2], 2 do row[entry[2][i]] = entry[2][i + 1] end
  if row.tenantId == ARGV[3] and month_of(tonumber(row.endedAtMs)) == tonumber(ARGV[1]) then
    spent = spent + row.inputNano + row.cachedNano + row.outputNano
  end
end
redis.call('HSET', KEYS[1], 'month', ARGV[1], 'spentNano', spent)
return 1
