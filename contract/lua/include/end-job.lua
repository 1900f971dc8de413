-- The one way a job ends: terminal state, end entry, money and counters settled, usage row, outbox row, lane and open
-- set, all or nothing. Callers have checked that the job exists and is not terminal, and have written nothing: what
-- frees memory comes first, since a full Redis lets a script write on once it has begun, and so lets jobs end. Usage is
-- what the log holds (I5). Needs the includes month, window, quota, fair, leave-queue.
--
-- keys: job, log, open, lane_load, usage, outbox, fair, cell
-- facts: job_id, status, finish_reasons (JSON), error (JSON), prompt_tokens (-1: what the start entry said),
--   cached_tokens, now, outbox_rows_max

-- Its tokens and what they cost. A failure of ours costs nothing, nor does a job too old that answered nothing; their
-- tokens are told all the same.
local function end_bill(record, facts)
  local is_billed = facts.status ~= 'failed' and (facts.status ~= 'expired' or tonumber(record.completionTokens) > 0)
  local function nano(tokens, micro) return is_billed and cost_nano(tokens, tonumber(micro)) or 0 end
  local prompt = facts.prompt_tokens >= 0 and facts.prompt_tokens or tonumber(record.promptTokens)
  local completion, cached = tonumber(record.completionTokens), math.min(facts.cached_tokens, prompt)
  return {
    prompt = prompt, cached = cached, completion = completion, reasoning = record.reasoningTokens,
    used = prompt + completion, input_nano = nano(prompt - cached, record.priceInput),
    cached_nano = nano(cached, record.priceCached), output_nano = nano(completion, record.priceOutput),
  }
end

-- What was reserved for it is given back, what it used is counted.
local function end_settle(keys, record, bill, now)
  quota_heal(record.quota)
  leave_queue(keys.cell, record, now)
  local generation = redis.call('HGET', keys.cell, 'generation') or '0'
  local quota = quota_read(record.quota, generation)
  if record.generation == generation then
    quota.openJobs, quota.reservedNano = quota.openJobs - 1, quota.reservedNano - tonumber(record.reservedNano)
  end
  quota_roll(quota, month_of(now))
  if quota.month > 0 then quota.spentNano = quota.spentNano + bill.input_nano + bill.cached_nano + bill.output_nano end
  quota_write(record.quota, generation, quota)
  local admitted_second = math.floor(tonumber(record.admittedAtMs) / 1000)
  window_correct(record.quota, 't', admitted_second, bill.used - tonumber(record.reservedTokens))
  -- Fairness charged what was expected; now it is known. An idle cell has forgotten the flow, and so does this.
  local flow = fair_flow(record.tenantId, record.tier)
  local tag = tonumber(redis.call('HGET', keys.fair, flow))
  local correction = fair_cost(bill.used - tonumber(record.fairTokens), tonumber(record.weightMilli))
  if tag then redis.call('HSET', keys.fair, flow, math.max(0, tag + correction)) end
  -- The other tiers were charged at its claim.
  if record.status == 'running' then fair_share(keys.fair, record.tenantId, record.tier, correction) end
end

-- For metrics, for the bill, and for who waits for a webhook.
local function end_tell(keys, record, bill, facts)
  for name, count in pairs({
    ['ended:' .. facts.status] = 1, ['tokens:input'] = bill.prompt, ['tokens:cached'] = bill.cached,
    ['tokens:output'] = bill.completion, ['tokens:reasoning'] = bill.reasoning,
  }) do
    redis.call('HINCRBY', keys.cell, name, count)
  end
  redis.call('XADD', keys.usage, '*',
    'jobId', facts.job_id, 'tenantId', record.tenantId, 'keyId', record.keyId, 'model', record.model,
    'isThinking', record.isThinking, 'tier', record.tier, 'status', facts.status, 'promptTokens', bill.prompt,
    'cachedTokens', bill.cached, 'completionTokens', bill.completion, 'reasoningTokens', bill.reasoning,
    'inputNano', bill.input_nano, 'cachedNano', bill.cached_nano, 'outputNano', bill.output_nano,
    'admittedAtMs', record.admittedAtMs, 'endedAtMs', facts.now)
  if record.isBackground == '1' then
    redis.call('XADD', keys.outbox, 'MAXLEN', '~', facts.outbox_rows_max, '*',
      'jobId', facts.job_id, 'tenantId', record.tenantId, 'status', facts.status, 'endedAtMs', facts.now)
  end
end

local function end_job(keys, facts)
  local names = {
    'status', 'entryCount', 'promptTokens', 'completionTokens', 'reasoningTokens', 'live', 'lane', 'tenantId', 'keyId',
    'model', 'isThinking', 'isBackground', 'tier', 'weightMilli', 'fairTokens', 'queuedTokens', 'reservedTokens',
    'reservedNano', 'generation', 'quota', 'keepMs', 'priceInput', 'priceCached', 'priceOutput', 'admittedAtMs',
  }
  local values, record = redis.call('HMGET', keys.job, unpack(names)), {}
  for i, name in ipairs(names) do record[name] = values[i] end
  local bill = end_bill(record, facts)
  local usage = string.format(
    '{"promptTokens":%d,"cachedTokens":%d,"completionTokens":%d,"reasoningTokens":%d}',
    bill.prompt, bill.cached, bill.completion, bill.reasoning
  )
  local entry = '{"kind":"end","status":"' .. facts.status .. '","finishReasons":' .. facts.finish_reasons
    .. ',"usage":' .. usage .. ',"error":' .. facts.error .. '}'
  local sequence = tonumber(record.entryCount) + 1

  redis.call('HDEL', keys.job, 'request')
  if type(redis.pcall('XADD', keys.log, sequence .. '-0', 'entry', entry)) == 'table' then
    -- Not a log, or not one that stands where the record says: what it was is lost, the end is not.
    redis.call('DEL', keys.log)
    redis.call('XADD', keys.log, sequence .. '-0', 'entry', entry)
  end
  redis.call('HSET', keys.job, 'status', facts.status, 'entryCount', sequence, 'endedAtMs', facts.now)
  redis.call('PEXPIRE', keys.job, record.keepMs)
  redis.call('PEXPIRE', keys.log, record.keepMs)
  redis.call('ZREM', keys.open, facts.job_id)
  redis.call('HINCRBY', keys.lane_load, record.lane, -1)
  end_settle(keys, record, bill, facts.now)
  end_tell(keys, record, bill, facts)
  redis.call('PUBLISH', record.live, facts.job_id .. ' ' .. sequence .. ' ' .. entry)
end
