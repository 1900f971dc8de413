-- The one way a job ends: terminal state, end entry, usage row, outbox row, lane and open set, all or nothing.
-- Callers have checked that the job exists and is not terminal, and have written nothing: what frees memory comes first,
-- since a full Redis lets a script write on once it has begun, and so lets jobs end. Usage is what the log holds (I5).
--
-- keys: job, log, open, lane_load, usage, outbox   facts: status, finish_reasons (JSON), error (JSON), prompt_tokens,
-- cached_tokens, now, record_ttl_ms, rows_max
local function end_job(keys, facts)
  local names = { 'entryCount', 'completionTokens', 'reasoningTokens', 'live', 'lane', 'tenantId', 'keyId', 'model', 'isThinking', 'isBackground' }
  local values = redis.call('HMGET', keys.job, unpack(names))
  local record = {}
  for i, name in ipairs(names) do
    record[name] = values[i]
  end

  local usage = string.format(
    '{"promptTokens":%d,"cachedTokens":%d,"completionTokens":%d,"reasoningTokens":%d}',
    facts.prompt_tokens, facts.cached_tokens, record.completionTokens, record.reasoningTokens
  )
  local entry = '{"kind":"end","status":"' .. facts.status .. '","finishReasons":' .. facts.finish_reasons
    .. ',"usage":' .. usage .. ',"error":' .. facts.error .. '}'
  local sequence = tonumber(record.entryCount) + 1

  redis.call('HDEL', keys.job, 'request')
  redis.call('XADD', keys.log, sequence .. '-0', 'entry', entry)
  redis.call('HSET', keys.job, 'status', facts.status, 'entryCount', sequence, 'endedAtMs', facts.now)
  redis.call('PEXPIRE', keys.job, facts.record_ttl_ms)
  redis.call('PEXPIRE', keys.log, facts.record_ttl_ms)
  redis.call('ZREM', keys.open, facts.job_id)
  redis.call('HINCRBY', keys.lane_load, record.lane, -1)
  redis.call('XADD', keys.usage, 'MAXLEN', '~', facts.rows_max, '*',
    'jobId', facts.job_id, 'tenantId', record.tenantId, 'keyId', record.keyId, 'model', record.model,
    'isThinking', record.isThinking, 'status', facts.status, 'promptTokens', facts.prompt_tokens,
    'cachedTokens', facts.cached_tokens, 'completionTokens', record.completionTokens,
    'reasoningTokens', record.reasoningTokens, 'endedAtMs', facts.now)
  if record.isBackground == '1' then
    redis.call('XADD', keys.outbox, 'MAXLEN', '~', facts.rows_max, '*',
      'jobId', facts.job_id, 'tenantId', record.tenantId, 'status', facts.status, 'endedAtMs', facts.now)
  end
  redis.call('PUBLISH', record.live, facts.job_id .. ' ' .. sequence .. ' ' .. entry)
end
