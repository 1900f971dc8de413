-- Start-time fair queueing over flows (tenant, tier) (Goyal, Vin, Cheng 1996), in tokens of virtual time.
local function fair_flow(tenant_id, tier)
  return 'flow:' .. tenant_id .. ':' .. tier
end

local function fair_cost(tokens, weight_milli)
  return math.ceil(tokens * 1000 / weight_milli)
end

-- Never 0, which jumps BullMQ's queue; contract/quota.ts says the same.
local function fair_priority(queue_tag, base, step_tokens, priority_max)
  return math.max(1, math.min(1 + math.floor((queue_tag - base) / step_tokens), priority_max))
end
