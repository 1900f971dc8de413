-- The prompt's true length is known: reserved tokens and money follow it. Repeating it changes nothing.
local function swap_reservation(job_key, cell_key, prompt_tokens)
  local names = {
    'quota', 'generation', 'admittedAtMs', 'answerTokensMax', 'contextTokens', 'reservedTokens', 'reservedNano',
    'priceInput', 'priceCached', 'priceOutput',
  }
  local record = {}
  for i, value in ipairs(redis.call('HMGET', job_key, unpack(names))) do record[names[i]] = tonumber(value) or value end
  quota_heal(record.quota)
  local answer_tokens = math.max(0, math.min(record.answerTokensMax, record.contextTokens - prompt_tokens))
  local tokens = prompt_tokens + answer_tokens
  local nano = worst_nano(prompt_tokens, answer_tokens, record.priceInput, record.priceCached, record.priceOutput)
  window_correct(record.quota, 't', math.floor(record.admittedAtMs / 1000), tokens - record.reservedTokens)
  if tostring(record.generation) == (redis.call('HGET', cell_key, 'generation') or '0') then
    redis.call('HINCRBY', record.quota, 'reservedNano', nano - record.reservedNano)
  end
  redis.call('HSET', job_key, 'promptTokens', prompt_tokens, 'reservedTokens', tokens, 'reservedNano', nano)
end
