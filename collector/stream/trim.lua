-- Trim a stream below both cursors, never above: what is not applied and archived stays.
-- KEYS: events, state. Returns how many entries went.
local state = redis.call('HMGET', KEYS[2], 'cursor', 'archived')
if not state[1] or not state[2] then return 0 end
local function parts(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), tonumber(string.sub(id, dash + 1))
end
local ms, seq = parts(state[1])
local ms2, seq2 = parts(state[2])
if ms2 < ms or (ms2 == ms and seq2 < seq) then ms, seq = ms2, seq2 end
return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', ms, seq + 1))
