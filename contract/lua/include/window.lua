-- A sliding window of 60 s in buckets of one second: what is added counts until its bucket is 61 s old, so that in no
-- sliding 60 s more is counted in than the sum ever allowed. Fields of a hash, `w` a name in it:
-- w:first, w:latest (seconds of the oldest and newest bucket kept), w:sum, w:<second>.
local window_buckets = 61

-- The fields of buckets from … to, at most window_buckets of them, since adding drops what expired.
local function window_fields(w, from, to)
  local fields = {}
  for second = from, to do table.insert(fields, w .. ':' .. second) end
  return fields
end

-- Reads only, unless the clock went back: {second, first, latest, sum, stale = {field, …}}
local function window_read(key, w, now)
  local second = math.floor(now / 1000)
  local state = redis.call('HMGET', key, w .. ':first', w .. ':latest', w .. ':sum')
  local first, latest, sum = tonumber(state[1]), tonumber(state[2]), tonumber(state[3]) or 0
  if first and latest > second then
    -- The clock went back: everything counts as of now, and is gone in a minute. Written at once, since refusals write
    -- nothing else and would find a later "now" each time; HSET first, which a full Redis refuses.
    redis.call('HSET', key, w .. ':first', second, w .. ':latest', second, w .. ':' .. second, sum)
    for old = first, latest do
      if old ~= second then redis.call('HDEL', key, w .. ':' .. old) end
    end
    first, latest = second, second
  end
  local read = { second = second, first = first or second, latest = latest or second, sum = sum, stale = {} }
  if not first then return read end
  read.stale = window_fields(w, first, math.min(latest, second - window_buckets))
  if #read.stale > 0 then
    for _, amount in ipairs(redis.call('HMGET', key, unpack(read.stale))) do
      read.sum = read.sum - (tonumber(amount) or 0)
    end
  end
  read.first = math.max(first, second - window_buckets + 1)
  return read
end

-- Writes: drops what expired, then adds.
local function window_add(key, w, read, amount)
  if #read.stale > 0 then redis.call('HDEL', key, unpack(read.stale)) end
  redis.call('HSET', key, w .. ':first', read.first)
  redis.call('HINCRBY', key, w .. ':' .. read.second, amount)
  redis.call('HSET', key, w .. ':latest', read.second, w .. ':sum', read.sum + amount)
end

-- Writes: less (or more) was used than `second` was charged for. A bucket that is gone needs no correction.
local function window_correct(key, w, second, amount)
  if amount == 0 or redis.call('HEXISTS', key, w .. ':' .. second) == 0 then return end
  redis.call('HINCRBY', key, w .. ':' .. second, amount)
  redis.call('HINCRBY', key, w .. ':sum', amount)
end

-- Ms until what was counted up to now has left; `is_adding` when something is being added.
local function window_resets_in(read, is_adding, now)
  local newest = is_adding and read.second or read.latest
  return (newest + window_buckets) * 1000 - now
end

-- Reads: ms until `needed` of the sum has left; all of it at the latest when the newest bucket goes.
local function window_frees_in(key, w, read, needed, now)
  local freed, fields = 0, window_fields(w, read.first, read.latest)
  for i, amount in ipairs(#fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}) do
    freed = freed + (tonumber(amount) or 0)
    if freed >= needed then return (read.first + i - 1 + window_buckets) * 1000 - now end
  end
  return (read.latest + window_buckets) * 1000 - now
end
