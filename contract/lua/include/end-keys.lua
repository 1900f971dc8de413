-- The keys every script that can end a job begins with.
local end_keys = {
  job = KEYS[1], log = KEYS[2], open = KEYS[3], lane_load = KEYS[4], usage = KEYS[5], outbox = KEYS[6], fair = KEYS[7],
  cell = KEYS[8],
}
