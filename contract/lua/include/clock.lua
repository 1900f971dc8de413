-- Redis time in ms. Tests shift it through the offset key, which does not exist anywhere else.
local function now_ms(clock_offset_key)
  local time = redis.call('TIME')
  local offset = tonumber(redis.call('GET', clock_offset_key) or '0')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + offset
end
