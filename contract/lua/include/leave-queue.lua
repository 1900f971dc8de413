-- A job that waited does so no more: it is claimed for the first time, or ends unclaimed. Later calls change nothing.
-- (0 - x: the negative of 0 is '-0' to Redis, and no integer.)
local wait_bounds_ms = { 10, 50, 100, 500, 1000, 5000, 10000, 30000, 60000, 120000 }

local function leave_queue(cell_key, record, now)
  if record.status == 'running' then return end
  local generation = redis.call('HGET', cell_key, 'generation') or '0'
  if record.generation == generation then
    redis.call('HINCRBY', cell_key, 'queued:' .. record.tier, -1)
    redis.call('HINCRBY', cell_key, 'queuedFair', 0 - tonumber(record.fairTokens))
    redis.call('HINCRBY', record.quota, 'queuedFair', 0 - tonumber(record.fairTokens))
    if redis.call('HINCRBY', record.quota, 'queuedJobs', -1) <= 0 then
      local weight = tonumber(redis.call('HGET', record.quota, 'waitingWeight') or '0')
      redis.call('HINCRBY', cell_key, 'waitingWeight', 0 - weight)
      redis.call('HSET', record.quota, 'waitingWeight', 0)
    end
    redis.call('HINCRBY', record.quota, 'queuedTokens', 0 - tonumber(record.queuedTokens))
  end
  local wait_ms = math.max(0, now - tonumber(record.admittedAtMs))
  for _, bound in ipairs(wait_bounds_ms) do
    if wait_ms <= bound then redis.call('HINCRBY', cell_key, 'wait:' .. bound, 1) end
  end
  redis.call('HINCRBY', cell_key, 'wait:inf', 1)
  redis.call('HINCRBY', cell_key, 'waitSumMs', wait_ms)
end
