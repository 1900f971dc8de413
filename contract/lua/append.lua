-- Appends one entry to the token log, in order, from the job's one writer.
--
-- KEYS  1 job  2 log  3 cell; and the quota that the record names
-- ARGV  1 job id  2 epoch  3 sequence number of the entry  4 entry (JSON)  5 choice, '' for an entry without tokens
--       6 index of its first token  7 token count  8 isReasoning 0|1  9 prompt tokens of a start entry, else ''
-- Returns {code, cancel 0|1}; code: 'ok' | 'fenced' (another epoch, or ended) | 'conflict' (other content stored there)
--         | 'gap' (sequence number or index not the next) | 'missing'
-- Guarantees: I1, I2. An entry of this epoch stored with equal content is 'ok': a lost reply must not fence its writer.
-- A start entry swaps the worst case that admission reserved for the prompt's true length.
--@include window
--@include quota
--@include swap-reservation

local record = redis.call('HMGET', KEYS[1], 'status', 'epoch', 'entryCount', 'live', 'cancel')
if not record[1] then return { 'missing', 0 } end
if record[1] ~= 'running' or record[2] ~= ARGV[2] then return { 'fenced', 0 } end
local cancel = tonumber(record[5])

local sequence, stored = tonumber(ARGV[3]), tonumber(record[3])
if sequence <= stored then
  local entry = redis.call('XRANGE', KEYS[2], ARGV[3] .. '-0', ARGV[3] .. '-0')
  if #entry == 1 and entry[1][2][2] == ARGV[4] then return { 'ok', cancel } end
  return { 'conflict', cancel }
end
if sequence ~= stored + 1 then return { 'gap', cancel } end

local next_field = 'next:' .. ARGV[5]
if ARGV[5] ~= '' and tonumber(redis.call('HGET', KEYS[1], next_field) or '0') ~= tonumber(ARGV[6]) then
  return { 'gap', cancel }
end
-- First of the writes, because it alone can fail: then nothing was counted.
redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'entry', ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HINCRBY', KEYS[1], next_field, ARGV[7])
  redis.call('HINCRBY', KEYS[1], 'completionTokens', ARGV[7])
  if ARGV[8] == '1' then redis.call('HINCRBY', KEYS[1], 'reasoningTokens', ARGV[7]) end
end
redis.call('HSET', KEYS[1], 'entryCount', sequence)
if ARGV[9] ~= '' then swap_reservation(KEYS[1], KEYS[3], tonumber(ARGV[9])) end
redis.call('PUBLISH', record[4], ARGV[1] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
return { 'ok', cancel }
