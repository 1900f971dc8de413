-- Terminal is final: nothing leaves these states.
local terminal = { completed = true, incomplete = true, failed = true, expired = true, cancelled = true }
