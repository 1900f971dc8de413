-- A key that holds no counters counts as lost ones: they begin anew, and the month's spend is asked for again.
local function quota_heal(key)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
end

-- What a tenant holds: counts of its open jobs and its money, in one hash. Counts of another generation than the cell's
-- are of a time that ended (the cell was found idle): they are 0, so that what lost records left behind heals.
local function quota_read(key, generation)
  local names = {
    'generation', 'month', 'spentNano',
    'openJobs', 'reservedNano', 'queuedJobs', 'queuedTokens', 'queuedFair', 'waitingWeight',
  }
  local values, quota = redis.call('HMGET', key, unpack(names)), {}
  local is_current = values[1] == generation
  for i, name in ipairs(names) do
    quota[name] = (i < 4 or is_current) and tonumber(values[i]) or 0
  end
  return quota
end

-- Writes all of it back.
local function quota_write(key, generation, quota)
  redis.call('HSET', key, 'openJobs', quota.openJobs, 'queuedJobs', quota.queuedJobs, 'queuedTokens', quota.queuedTokens,
    'queuedFair', quota.queuedFair, 'waitingWeight', quota.waitingWeight, 'reservedNano', quota.reservedNano,
    'generation', generation)
  if quota.month > 0 then redis.call('HSET', key, 'month', quota.month, 'spentNano', quota.spentNano) end
end

-- In a new month nothing is spent yet; what is reserved stays reserved. A month that is not known stays unknown.
local function quota_roll(quota, month)
  if quota.month > 0 and quota.month < month then quota.month, quota.spentNano = month, 0 end
end

-- Nano-USD of `tokens` at `micro` µUSD a million, rounded up once.
local function cost_nano(tokens, micro)
  return math.ceil(tokens * micro / 1000)
end

-- The most that so many tokens can cost. Cached and other input are two items, each rounded up.
local function worst_nano(prompt, answer, input_micro, cached_micro, output_micro)
  local rounding = input_micro > 0 and cached_micro > 0 and 1 or 0
  return cost_nano(prompt, math.max(input_micro, cached_micro)) + rounding + cost_nano(answer, output_micro)
end
