-- Start-time fair queueing over flows (tenant, tier) (Goyal, Vin, Cheng 1996), in tokens of virtual time. Every tier has a
-- virtual time of its own while it waits: a newcomer stands beside those who wait in its tier, not behind the head start
-- that a better tier has run ahead of them.
local function fair_flow(tenant_id, tier)
  return 'flow:' .. tenant_id .. ':' .. tier
end

-- Not rounded: a small job of a heavy tenant would cost it many times its share.
local function fair_cost(tokens, weight_milli)
  return tokens * 1000 / weight_milli
end

-- What a tenant is served in one tier delays its jobs to come in the others: tiers are places in the queue, no shares of
-- their own. A tier that it has not used since the cell was idle owes nothing.
local fair_tiers = { 'priority', 'default', 'flex', 'batch' }

local function fair_share(fair_key, tenant_id, tier, amount)
  for _, other in ipairs(fair_tiers) do
    local flow = fair_flow(tenant_id, other)
    local tag = other ~= tier and tonumber(redis.call('HGET', fair_key, flow))
    if tag then redis.call('HSET', fair_key, flow, math.max(0, tag + amount)) end
  end
end

-- Where a flow begins that has nothing waiting. At the beginning of the step: served in steps, a flow that never stops
-- waiting would else lose up to a step a job. Who waits in a tier is never further behind than the tier's offset.
local function fair_newcomer(virtual, tier_virtual, offset, step_tokens)
  return math.max(0, math.floor(math.max(tier_virtual, virtual - offset) / step_tokens) * step_tokens)
end

-- Never 0, which jumps BullMQ's queue; contract/quota.ts says the same.
local function fair_priority(queue_tag, base, step_tokens, priority_max)
  return math.max(1, math.min(1 + math.floor((queue_tag - base) / step_tokens), priority_max))
end
